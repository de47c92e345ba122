"""The recipe of a training: frozen, read from TOML, complete, and refused when a key is unknown.

In: the name of a recipe that comes with the package, or a TOML file, and ``section.key=value``
overrides. Out: a :class:`Recipe`, which can be written back with every default spelled out.

The defaults are the paper's (Laskar and Kannala 2020, Section 4) for its ResNet34 student; where the
paper is silent, ``docs/method.md`` says what we chose and why.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import ValidationError, model_validator

from shared.digest import JsonValue, digest_of_document, float_text
from student_trainer.errors import InvalidInput
from student_trainer.nearest import nearest
from student_trainer.recipe_checks import carried_over, complete_settings, explain
from student_trainer.recipe_sections import (
    IMAGENET,
    RANDOM,
    AveragingSection,
    ImagesSection,
    ObjectiveSection,
    Section,
    StudentSection,
    TrainingSection,
    ValidationSection,
)

SHIPPED = Path(__file__).parent / "recipes"
"""The folder of the recipes that come with the package."""

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


class Recipe(Section):
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
