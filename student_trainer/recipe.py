"""The recipe of a training: frozen, read from TOML, complete, and refused when a key is unknown.

In: the name of a recipe that comes with the package, or a TOML file, and ``section.key=value``
overrides. Out: a :class:`Recipe`, which can be written back with every default spelled out.

The defaults are the paper's (Laskar and Kannala 2020, Section 4) for its ResNet34 student; where the
paper is silent, ``docs/method.md`` says what we chose and why.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.digest import JsonValue, digest_of_document, float_text
from shared.views import Degradation, ImageView
from student_trainer.errors import InvalidInput
from student_trainer.recipe_checks import carried_over, complete_settings, explain, nearest

SHIPPED = Path(__file__).parent / "recipes"
"""The folder of the recipes that come with the package."""

IMAGENET, RANDOM = "imagenet", "random"
"""What ``student.weights`` may say instead of a file."""


_OFF = (
    ("student", "trained_from", 0),
    ("student", "random_from", 0),
    ("images", "side_multiple_px", 1),
    ("images", "shortest_side_px", 0),
    ("images", "crop_px", 0),
    ("images", "crop_least_area", 0.08),
    ("images", "flip", False),
    ("images", "degrade", ""),
    ("training", "precision", "float32"),
    ("training", "optimiser", "adam"),
    ("training", "pooling_rate_factor", 1.0),
    ("training", "sampling", "all"),
    ("training", "images_per_label", 8),
)
"""Switches that came later, and how they say that they are not used."""


class _Section(BaseModel):
    """Base of every section: frozen, strictly typed, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class StudentSection(_Section):
    """The network that learns."""

    arch: str = "resnet34"
    """A name of ``shared.network.ARCHITECTURES``; ``mobilenet_v2-320`` is the paper's other student."""
    pooling: str = "gem"
    weights: str = "imagenet"
    """``imagenet`` (downloaded by torchvision), ``random``, or a file: ImageNet's or a saved network."""
    random_from: Annotated[int, Field(ge=0)] = 0
    """The first module of the trunk that starts at random weights all the same: a student that starts further
    from its teacher. 0: none does."""
    trained_from: Annotated[int, Field(ge=0)] = 0
    """The first module of the trunk that is trained. Those before it keep their weights, and their features
    are computed once (:mod:`student_trainer.distil.frozen_layers`); 0 trains all."""

    @property
    def draws_weights(self) -> bool:
        """Whether some of its first weights are drawn by the seed."""
        return self.weights == RANDOM or self.random_from > 0

    @property
    def drawn_from(self) -> int:
        """The first module of the trunk whose weights are drawn, where some are."""
        return 0 if self.weights == RANDOM else self.random_from


class ImagesSection(_Section):
    """How the photographs are read."""

    longest_side_px: Annotated[int, Field(ge=16, le=4096)] = 362
    side_multiple_px: Annotated[int, Field(ge=1, le=64)] = 1
    """Sides in training are rounded to a multiple of it: photographs of many shapes then share chunks. 1, the
    exact size, makes a chunk for each shape."""
    shortest_side_px: Annotated[int, Field(ge=0, le=4096)] = 0
    """Images are brought to it, in training and in use, whatever their longest side; 0: the longest rules."""
    crop_px: Annotated[int, Field(ge=0, le=4096)] = 0
    """In training a random part of the image, resized to a square of so many pixels; in use the middle
    square. 0: the whole image."""
    crop_least_area: Annotated[float, Field(gt=0, le=1)] = 0.08
    """A random part has at least this share of the image's area."""
    flip: bool = False
    """In training, half of the images are mirrored at each step."""
    degrade: str = ""
    """What makes the student's images worse than those that the teacher saw, in training and in use:
    ``downsample:4`` or ``crop:0.6`` (:mod:`shared.views`)."""

    @model_validator(mode="after")
    def _a_view(self) -> Self:
        if self.shortest_side_px and self.side_multiple_px != 1:
            raise ValueError(
                f"images.side_multiple_px = {self.side_multiple_px} rounds sides that follow from a longest "
                "side, and images.shortest_side_px gives the shortest: --set images.side_multiple_px=1"
            )
        if self.degrade and self.side_multiple_px != 1:
            raise ValueError(
                f"images.degrade = {self.degrade!r} is for sides that are not rounded: "
                "--set images.side_multiple_px=1"
            )
        if self.crop_px > self.shortest_side_px:
            raise ValueError(
                f"images.crop_px = {self.crop_px} needs images of which every side is as long: "
                f"--set images.shortest_side_px={max(self.crop_px, 256)}"
            )
        _ = self.view  # refuses a degradation that is none
        return self

    @property
    def view(self) -> ImageView:
        """How the student is shown images in use; in training the same, or random parts."""
        degradation = Degradation.parse(self.degrade) if self.degrade else None
        return ImageView(self.shortest_side_px or None, self.crop_px or None, degradation)

    @property
    def random(self) -> bool:
        """Whether each step of a training sees other pixels of an image."""
        return self.flip or bool(self.crop_px)


class ObjectiveSection(_Section):
    """The loss, by name, and the settings of that loss; ``student_trainer.distil.objectives`` knows them."""

    model_config = ConfigDict(extra="allow")

    name: str = "rank-mixup"

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class TrainingSection(_Section):
    """The optimisation, at learning rate ``learning_rate * exp(-learning_rate_decay * epoch)``."""

    epochs: Annotated[int, Field(ge=1)] = 30
    batch_size: Annotated[int, Field(ge=2)] = 1000
    """At most this many images are ranked together; an epoch is cut into batches of nearly equal size."""
    sampling: Literal["all", "balanced"] = "all"
    """``all``: an epoch is every image once. ``balanced``: a batch is some labels, and of each
    ``images_per_label`` images (:mod:`student_trainer.distil.balanced`)."""
    images_per_label: Annotated[int, Field(ge=2)] = 8
    """In a balanced batch."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    learning_rate_decay: Annotated[float, Field(ge=0)] = 0.01
    weight_decay: Annotated[float, Field(ge=0)] = 1e-6
    optimiser: Literal["adam", "rmsprop"] = "adam"
    pooling_rate_factor: Annotated[float, Field(gt=0)] = 1.0
    """The learning rate of GeM's p, as a multiple; where it is not 1, p is not decayed either."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    chunk_size: Annotated[int, Field(ge=1)] = 32
    """Images whose activations are held at one time; changes memory, not the result."""
    batch_norm: Literal["frozen", "per-chunk"] = "frozen"
    """``per-chunk`` normalises by each chunk's own statistics: another objective, kept for comparison."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the network's arithmetic; the loss is always taken in float32. ``bf16`` pays on graphics cards."""
    device: str = "auto"


class AveragingSection(_Section):
    """The final weights are the mean of the weights after these epochs (counted from 1)."""

    epochs: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (20, 30)
    """Empty: the weights after the last epoch."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.epochs)) != len(self.epochs):
            raise ValueError(f"an epoch is named twice in {list(self.epochs)}")
        return self


class ValidationSection(_Section):
    """Bought images that are never trained on, to see how the student ranks them; off by default."""

    share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Of the bought images, drawn by ``training.seed``."""
    every_epochs: Annotated[int, Field(ge=1)] = 1
    """And before the first epoch, after the last, and with the final weights."""


class Recipe(_Section):
    """Everything that decides what a training computes, apart from its images and descriptors."""

    student: StudentSection = StudentSection()
    images: ImagesSection = ImagesSection()
    objective: ObjectiveSection = ObjectiveSection()
    training: TrainingSection = TrainingSection()
    averaging: AveragingSection = AveragingSection()
    validation: ValidationSection = ValidationSection()

    @model_validator(mode="after")
    def _averages_what_is_trained(self) -> Self:
        too_late = [epoch for epoch in self.averaging.epochs if epoch > self.training.epochs]
        if too_late:
            raise ValueError(
                f"averaging.epochs names epoch {too_late[0]}, but training ends after epoch "
                f"{self.training.epochs}; choose with: --set averaging.epochs=[{self.training.epochs}]"
            )
        return self

    @model_validator(mode="after")
    def _keeps_features_of_fixed_pixels(self) -> Self:
        if self.student.trained_from and self.images.random:
            raise ValueError(
                f"student.trained_from = {self.student.trained_from} computes the features of the lower "
                "layers once, and random views (images.flip, images.crop_px) give other pixels at each step: "
                "--set student.trained_from=0, or --set images.flip=false and images.crop_px=0"
            )
        return self

    def digest(self) -> str:
        """SHA-256 of what decides the result: without the device, and without what is off.

        So a recipe has the digest that it had before a switch existed which it does not use.
        """
        document = self.model_dump(mode="json")
        document["training"].pop("device")
        if not self.validation.share:
            document.pop("validation")
        for section, key, off in _OFF:
            if document[section][key] == off:
                document[section].pop(key)
        return digest_of_document(_floats_as_text(document))

    def write(self, path: Path) -> None:
        """Write the recipe as TOML, with every default spelled out."""
        path.write_text(tomli_w.dumps(self.model_dump(mode="json")), encoding="utf-8")


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply overrides, and fill in the objective's own defaults.

    Args:
        name_or_path: a name from :func:`shipped_recipes`, or a TOML file.
        overrides: ``section.key=value``, the value in TOML's notation; bare words are taken as text.
            ``objective.name=...`` keeps the settings of the recipe that mean the same in the new objective:
            those that it has by the same name and with the same default.

    Raises:
        InvalidInput: no such recipe, not TOML, an unknown key or objective, or a value of the wrong
            type or out of range.
    """
    path = _find(name_or_path)
    document = _read_toml(path)
    origin = f"The recipe {path.name}"
    recipe = _parse(document, origin, weights_folder=path.parent)
    return changed(recipe, overrides) if overrides else recipe


def changed(recipe: Recipe, overrides: Sequence[str], origin: str = "With --set") -> Recipe:
    """The recipe with ``section.key=value`` applied, as :func:`load` applies them.

    Args:
        recipe: as :func:`load` gives it.
        overrides: see :func:`load`.
        origin: where they come from, for the message.

    Raises:
        InvalidInput: an unknown key or objective, or a value of the wrong type or out of range.
    """
    document = _apply(recipe.model_dump(mode="json"), _parse_overrides(overrides))
    return _parse(document, origin, weights_folder=Path.cwd())


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def _find(name_or_path: str | Path) -> Path:
    shipped = SHIPPED / f"{name_or_path}.toml"
    if shipped.parent == SHIPPED and shipped.is_file():
        return shipped
    path = Path(name_or_path)
    if path.is_file():
        return path
    hint = nearest(str(name_or_path), shipped_recipes())
    raise InvalidInput(
        f"There is no recipe {str(name_or_path)!r}, neither among the shipped ones "
        f"({', '.join(shipped_recipes())}) nor as a file.{hint}"
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The recipe {path} is not TOML: {error}.") from None


def _parse(document: Mapping[str, Any], origin: str, weights_folder: Path) -> Recipe:
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        raise InvalidInput(f"{origin}: {explain(error.errors()[0], Recipe)}") from None
    settings = complete_settings(recipe.objective.name, recipe.objective.settings, origin)
    return recipe.model_copy(
        update={
            "student": recipe.student.model_copy(
                update={"weights": _absolute(recipe.student.weights, weights_folder)}
            ),
            "objective": ObjectiveSection.model_validate({"name": recipe.objective.name, **settings}),
        }
    )


def _absolute(weights: str, folder: Path) -> str:
    """A weights file is named from the recipe's own folder, and from the current one with ``--set``."""
    return weights if weights in (IMAGENET, RANDOM) else str((folder / weights).resolve())


def _parse_overrides(overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    changes: dict[str, dict[str, Any]] = {}
    for override in overrides:
        place, equals, text = override.partition("=")
        section, dot, key = place.strip().partition(".")
        if not (equals and dot and section and key):
            raise InvalidInput(f"--set {override!r} is not of the form section.key=value.")
        changes.setdefault(section, {})[key] = _value(text.strip())
    return changes


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word, such as a name or a path


def _apply(document: dict[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    name = changes.get("objective", {}).get("name")
    if isinstance(name, str):
        document["objective"] = carried_over(document["objective"], name)
    for section, values in changes.items():
        document.setdefault(section, {}).update(values)
    return document


def _floats_as_text(value: Any) -> JsonValue:
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, Mapping):
        return {key: _floats_as_text(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_floats_as_text(member) for member in value]
    return value  # type: ignore[no-any-return]
