"""The sections of a recipe: what may stand in each, and what stands there if nothing is said.

In: what TOML holds. Out: frozen sections, or pydantic's findings, which :mod:`student_trainer.recipe_checks`
words. :mod:`student_trainer.recipe` puts them together.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.views import Degradation, ImageView

IMAGENET, RANDOM = "imagenet", "random"
"""What ``student.weights`` may say instead of a file."""


class Section(BaseModel):
    """Base of every section: frozen, strictly typed, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class StudentSection(Section):
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


class ImagesSection(Section):
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


class ObjectiveSection(Section):
    """The loss, by name, and the settings of that loss; ``student_trainer.distil.objectives`` knows them."""

    model_config = ConfigDict(extra="allow")

    name: str = "rank-mixup"

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class TrainingSection(Section):
    """The optimisation, at learning rate ``learning_rate * exp(-learning_rate_decay * epoch)``."""

    epochs: Annotated[int, Field(ge=1)] = 30
    batch_size: Annotated[int, Field(ge=2)] = 1000
    """At most this many images are ranked together; an epoch is cut into batches of nearly equal size."""
    sampling: Literal["all", "balanced"] = "all"
    """``all``: an epoch is every image once. ``balanced``: a batch is some labels, and of each
    ``images_per_label`` images (:mod:`student_trainer.distil.balanced`)."""
    images_per_label: Annotated[int, Field(ge=2)] = 8
    """In a balanced batch; what is left of ``batch_size`` then stays empty."""
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

    @property
    def images_per_batch(self) -> int:
        """Images that a full batch holds; 0 where it is too small for a group of one label."""
        group = self.images_per_label if self.sampling == "balanced" else 1
        return self.batch_size // group * group


class AveragingSection(Section):
    """The final weights are the mean of the weights after these epochs (counted from 1)."""

    epochs: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (20, 30)
    """Empty: the weights after the last epoch."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.epochs)) != len(self.epochs):
            raise ValueError(f"an epoch is named twice in {list(self.epochs)}")
        return self


class ValidationSection(Section):
    """Bought images that are never trained on, to see how the student ranks them; off by default."""

    share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Of the bought images, drawn by ``training.seed``."""
    every_epochs: Annotated[int, Field(ge=1)] = 1
    """And before the first epoch, after the last, and with the final weights."""
