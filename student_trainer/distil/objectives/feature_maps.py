"""Objectives on feature maps: which layers are compared, at which weight, and what is learned beside them.

In: settings; later the maps of a pair of layers, [B, C, h, w] by the student and [B, D, H, W] by the teacher.
Out: each image's own loss, and what has to be learned to compare the two.

They need a white box: a local teacher (``train --teacher-checkpoint``). ``base`` names an objective on
descriptors that they are added to, as in the published uses, where maps guide and something else is the
task; alone they train the trunk alone.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from torch import Tensor, nn

from student_trainer.distil.heads import Head
from student_trainer.distil.objectives.base import Facts, Objective
from student_trainer.distil.white_box.layers import LayerPair, parse_layers
from student_trainer.errors import InvalidInput
from student_trainer.recipe_checks import (
    AUTO,
    OBJECTIVE_SEED,
    THRESHOLD,
    complete_settings,
    objective_settings,
)


def of_maps_alone(name: str) -> Facts:
    """What such an objective is without a base."""
    return Facts(
        name=name,
        needs_labels=False,
        needs_teacher=False,
        needs_white_box=True,
        in_teachers_space=False,
        learns_unlabelled=False,
        takes_several_labels=False,
        wants_classes=False,
    )


def beside(maps: Facts, base: Facts) -> Facts:
    """What it is that learns from maps beside a base: it needs, and takes, what the base does."""
    return replace(base, name=maps.name, needs_white_box=True)


@dataclass
class FeatureMapObjective(Objective):
    """The sum over pairs of layers, weighed, and beside it the base.

    Args:
        layers: pairs ``STUDENT:TEACHER`` with commas between them
            (:mod:`student_trainer.distil.white_box.layers`); nothing compares the maps that are pooled.
        weight: of the maps.
        base: the name of an objective on the descriptors of a batch; none by default.
        base_settings: its settings.
        seed: of the initial weights that are learned, and of a base that draws; ``training.seed`` by default.

    Raises:
        InvalidInput: a setting is out of its range, or the base is not one on the descriptors of a batch.
    """

    layers: str = ""
    weight: float = 1.0
    base: str = ""
    base_settings: Mapping[str, Any] | None = None
    seed: int | None = None

    regressor: nn.Module | None = field(default=None, init=False, repr=False)
    """Of calls outside of a training, made at the first of them."""
    pairs: tuple[LayerPair, ...] = field(init=False, repr=False)
    of_descriptors: Objective | None = field(default=None, init=False, repr=False)
    """The base, ready to be called; None without one."""

    def __post_init__(self) -> None:
        if not (isfinite(self.weight) and self.weight > 0):
            raise InvalidInput(f"weight = {self.weight}: weigh the feature maps by a number above 0.")
        self.pairs = parse_layers(self.layers)
        if self.base_settings and not self.base:
            raise InvalidInput("objective.base_settings are those of objective.base, and none is named.")
        if self.base:
            self.of_descriptors = _base(self.base, self.base_settings or {}, self.seed)
            self.facts = beside(self.facts, self.of_descriptors.facts)

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of one pair of layers: student [B, C, h, w], teacher [B, D, H, W], of the same images.

        A mean over images, without the weight and without the base; ``labels`` are not looked at.

        Raises:
            InvalidInput: they are not maps of the same images.
        """
        if teacher is None or student.ndim != 4 or teacher.ndim != 4 or len(student) != len(teacher):
            found = "none" if teacher is None else f"{list(teacher.shape)}"
            raise InvalidInput(
                f"The objective {self.name} compares feature maps of the same images, [B, C, h, w] and "
                f"[B, D, H, W]; the student's have the shape {list(student.shape)}, the teacher's {found}."
            )
        if self.regressor is None:
            made = self.make_regressor(student.shape[1], teacher.shape[1], self.seed or 0)
            self.regressor = made.to(student.device, student.dtype)
        return self.of_maps(student, teacher, self.regressor).mean()

    @abstractmethod
    def of_maps(self, student: Tensor, teacher: Tensor, regressor: nn.Module) -> Tensor:
        """Each image's loss [B] of maps [B, C, h, w] and [B, D, H, W]; the sizes may differ."""

    @abstractmethod
    def make_regressor(self, channels: int, wanted: int, seed: int) -> nn.Module:
        """What is learned to compare maps of C channels with maps of D; without weights where nothing is."""

    def check_cells(self, cells: int, image_px: tuple[int, int]) -> None:
        """Refuse maps that have so few cells, in the largest image (height, width), that they say nothing.

        Raises:
            InvalidInput: so it is.
        """
        return  # one cell has a number for each channel, which is enough for most

    def check_batch(self, images: int) -> None:
        """As the base does: maps are compared image by image."""
        if self.of_descriptors is not None:
            self.of_descriptors.check_batch(images)

    def make_head(self, student_dim: int, teacher_dim: int | None, seed: int) -> Head | None:
        """The base's head with its initial weights; None where it wants none."""
        if self.of_descriptors is None:
            return None
        self.of_descriptors.head = self.of_descriptors.make_head(student_dim, teacher_dim, seed)
        return self.of_descriptors.head


def _base(name: str, given: Mapping[str, Any], seed: int | None) -> Objective:
    """An objective on the descriptors of a batch."""
    from student_trainer.distil import objectives  # which knows this module

    settings = complete_settings(name, given, "With objective.base_settings")
    if settings.get(THRESHOLD) == AUTO:
        raise InvalidInput(
            f'objective.base_settings: {THRESHOLD} = "{AUTO}" is for an objective that stands alone; '
            f"give the number that the training of {name!r} says."
        )
    if seed is not None and OBJECTIVE_SEED in objective_settings(name):
        settings.setdefault(OBJECTIVE_SEED, seed)
    base = objectives.get(name)(**settings)
    if base.mining is not None or base.facts.wants_classes or base.facts.needs_white_box:
        raise InvalidInput(
            f"objective.base = {name!r} does not go with feature maps: choose one on the descriptors of a "
            "batch, such as regression or rank-mixup."
        )
    return base
