"""What a row learns from: the teacher's descriptors, labels of the same images, both, or the labels of all.

In: a row, its recipe and a setting. Out: a :class:`Lesson`: why it cannot be had, or its images by seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from student_trainer.acquire.selection.choice import RANDOM as AT_RANDOM
from student_trainer.distil.data import TrainingData
from student_trainer.recipe import Recipe
from student_trainer.reproduce.definition import Row
from student_trainer.reproduce.setting import Setting


class Lesson(Protocol):
    """What a row learns from; what it does not look at is left out of its data, and decides nothing."""

    @property
    def needs_labels(self) -> bool:
        """Whether its objective must learn from labels."""

    @property
    def needs_teacher(self) -> bool:
        """Whether it must learn from the teacher."""

    def missing(self) -> str:
        """Why it cannot be had; empty where it can."""

    def images(self) -> int:
        """How many are asked for; a sparse set may have fewer."""

    def data(self, seed: int) -> TrainingData:
        """Of one training.

        Raises:
            TooDense: no sparse set can be had.
        """


@dataclass(frozen=True)
class FromTeacher:
    """Bought descriptors."""

    row: Row
    recipe: Recipe
    """Of the student, by whose network before training a strategy looks at the images."""
    setting: Setting
    sizes: Mapping[int, int]
    """The paper's number of images -> ours; without those that cannot be had."""
    beside_strategies: bool
    """The table compares strategies with a random choice, which must then be one."""
    needs_labels: bool = False
    needs_teacher: bool = True

    def missing(self) -> str:
        """See :class:`Lesson`."""
        return _nothing_bought(self.row, self.setting, self.sizes)

    def images(self) -> int:
        """See :class:`Lesson`."""
        assert self.setting.pool is not None
        return len(self.setting.pool.data) if self.row.images is None else self.sizes[self.row.images]

    def data(self, seed: int) -> TrainingData:
        """See :class:`Lesson`."""
        return replace(self._part(seed), labels=None, label_names=None, pairs=None)

    def _part(self, seed: int) -> TrainingData:
        pool, row = self.setting.pool, self.row
        assert pool is not None
        if row.selection == AT_RANDOM:
            return pool.part(seed, self.images(), row.sparse, at_random=self.beside_strategies)
        return pool.selected(seed, self.images(), row.selection, lambda: self.setting.look(self.recipe))


@dataclass(frozen=True)
class FromLabels(FromTeacher):
    """Labels of the same images."""

    needs_labels: bool = True
    needs_teacher: bool = False

    def missing(self) -> str:
        """See :class:`Lesson`."""
        return super().missing() or _no_labels(self.setting)

    def data(self, seed: int) -> TrainingData:
        """See :class:`Lesson`."""
        return replace(self._part(seed), teacher=None, teacher_revision=None)


@dataclass(frozen=True)
class FromBoth(FromTeacher):
    """Bought descriptors, and labels of the same images."""

    needs_labels: bool = True

    def missing(self) -> str:
        """See :class:`Lesson`."""
        return super().missing() or _no_labels(self.setting)

    def data(self, seed: int) -> TrainingData:
        """See :class:`Lesson`."""
        return self._part(seed)


@dataclass(frozen=True)
class FromAllLabels:
    """The labels of all training images, bought or not."""

    setting: Setting
    needs_labels: bool = True
    needs_teacher: bool = False

    def missing(self) -> str:
        """See :class:`Lesson`."""
        return self.setting.no_labels if self.setting.labelled is None else ""

    def images(self) -> int:
        """See :class:`Lesson`."""
        return len(self._labelled)

    def data(self, seed: int) -> TrainingData:
        """See :class:`Lesson`; the same for every seed."""
        return self._labelled

    @property
    def _labelled(self) -> TrainingData:
        assert self.setting.labelled is not None
        return self.setting.labelled


def lesson_of(
    row: Row, recipe: Recipe, setting: Setting, sizes: Mapping[int, int], *, beside_strategies: bool
) -> Lesson:
    """What the row names with ``learns_from``."""
    if row.learns_from == "all labels":
        return FromAllLabels(setting)
    return _OF_BOUGHT[row.learns_from](row, recipe, setting, sizes, beside_strategies)


_OF_BOUGHT: dict[str, type[FromTeacher]] = {
    "teacher": FromTeacher,
    "labels": FromLabels,
    "teacher and labels": FromBoth,
}


def _no_labels(setting: Setting) -> str:
    """Why the bought images have none; empty where they have."""
    unlabelled = setting.pool is not None and setting.pool.data.labels is None
    return setting.no_labels if unlabelled else ""


def _nothing_bought(row: Row, setting: Setting, sizes: Mapping[int, int]) -> str:
    if setting.pool is None:
        return "it learns from bought images: --transfer-set, a run folder or its transfer_set.sqlite"
    if row.images is not None and row.images not in sizes:
        return f"it needs {row.images:,} images, and {len(setting.pool.data):,} were bought"
    return ""
