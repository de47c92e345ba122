"""Balanced batches: some labels, and of each of them so many images (``training.sampling = "balanced"``).

In: labels, the training section of a recipe. Out: a schedule, whose batches are a function of (seed, epoch)
alone; or a refusal where no batch could hold two labels.

A loss that looks for the hardest positive in its batch needs positives in it: in a batch drawn from all
images of a hundred labels most images stand alone. Labels take turns, so a small one is shown as often as a
large one. Images that cannot be in such a group, because they have no label or are alone with theirs, come in
packs of the same size, in proportion to their number.

Source: Yu et al., "Learning Metrics from Teachers" (2019): batches of 32, 8 images for each label. There an
epoch is one turn of every label; here it shows as many images as there are, whatever the sampling.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray

from student_trainer.distil.labels.of_batch import has_label
from student_trainer.distil.schedule import Schedule
from student_trainer.errors import InvalidInput
from student_trainer.recipe_sections import TrainingSection

BALANCED = "balanced"
"""What ``training.sampling`` says where this schedule is asked for."""

LEAST_LABELS = 2
"""In every batch: with one alone there is no negative."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class BalancedSchedule(Schedule):
    """A batch is ``batch_size // images_per_label`` groups of distinct labels; in some, packs take a place.

    No label comes again before all the others have, and no image of a label before all its others have, but
    where that would bring one twice into a batch. A label with fewer images than a group has repeats them.
    """

    labels: Rows
    """[n], -1 where there is none."""

    @classmethod
    def of(cls, labels: Rows | None, setting: TrainingSection) -> "BalancedSchedule":
        """The schedule, if the labels can fill its batches.

        Raises:
            InvalidInput: no labels or several for an image, fewer than two labels with two images, or a batch
            that is too small.
        """
        if labels is None:
            raise InvalidInput(
                'training.sampling = "balanced" draws batches by label, and the objective learns without '
                "labels. Choose one that learns from them, or: --set training.sampling=all"
            )
        if labels.ndim > 1:
            raise InvalidInput(
                'training.sampling = "balanced" draws batches by label, and these images have several labels '
                "each: --set training.sampling=all"
            )
        schedule = cls(len(labels), setting, labels)
        schedule._check()
        return schedule

    @property
    def slots(self) -> int:
        """Groups that a batch has room for."""
        return self.setting.batch_size // self.setting.images_per_label

    @property
    def steps_per_epoch(self) -> int:
        """Batches that hold as many images as there are."""
        return ceil(self.images / self.setting.images_per_batch)

    @property
    def alone(self) -> int:
        """Images that are alone with their label."""
        return len(self._loose) - int((~has_label(self.labels)).sum())

    def batches(self, epoch: int) -> list[Rows]:
        """The batches of an epoch (counted from 1): groups of a label side by side, then packs."""
        random = np.random.default_rng([self.setting.seed, epoch])
        packs = self._packs
        turns = in_turns(len(self._groups), self._labels_in(packs), random)
        groups = iter(self._draw_groups(np.concatenate(turns), random))
        loose = in_turns(len(self._loose), self._loose_in(packs), random)
        return [
            np.concatenate([*(next(groups) for _ in turn), self._loose[pack]])
            for turn, pack in zip(turns, loose, strict=True)
        ]

    def images_seen(self, steps: int) -> int:
        """How many images the first ``steps`` steps show, each as often as it stands in a batch."""
        packs = self._packs
        sizes = self._labels_in(packs) * self.setting.images_per_label + self._loose_in(packs)
        epochs, places = divmod(steps, self.steps_per_epoch)
        return int(epochs * sizes.sum() + sizes[:places].sum())

    def sentence(self) -> str:
        """What a batch holds, for people."""
        groups = self._labels_in(self._packs)
        least, most = int(groups.min()), int(groups.max())
        labels = f"{most}" if least == most else f"{least} to {most}"
        line = f"Balanced batches: {labels} labels, {self.setting.images_per_label} images of each."
        if not len(self._loose):
            return line
        return (
            f"{line} Images that belong to no group ({self._who()}) take the place of a label, "
            f"{self._pack_images} at a time, {int(self._packs.sum()):,} times an epoch."
        )

    def _who(self) -> str:
        """Why images are in no group."""
        unlabelled = len(self._loose) - self.alone
        who = [
            *([f"{unlabelled:,} without a label"] if unlabelled else []),
            *([f"{self.alone:,} alone with their label"] if self.alone else []),
        ]
        return ", ".join(who)

    @cached_property
    def _groups(self) -> list[Rows]:
        """For every label with two images or more, its rows."""
        labelled = np.flatnonzero(has_label(self.labels))
        by_label = labelled[np.argsort(self.labels[labelled], kind="stable")]
        starts = np.unique(self.labels[by_label], return_index=True)[1]
        return [rows for rows in np.split(by_label, starts[1:]) if len(rows) > 1]

    @cached_property
    def _loose(self) -> Rows:
        """Rows that are in no group."""
        grouped = np.concatenate(self._groups) if self._groups else np.empty(0, np.int64)
        return np.setdiff1d(np.arange(self.images), grouped)

    @property
    def _pack_images(self) -> int:
        return min(self.setting.images_per_label, len(self._loose))

    @cached_property
    def _packs(self) -> Rows:
        """[steps]: packs in each batch of an epoch, spread evenly; every batch keeps room for two labels."""
        steps = self.steps_per_epoch
        wanted = ceil(len(self._loose) / self.setting.images_per_label)
        total = min(wanted, steps * (self.slots - LEAST_LABELS))
        return np.diff(np.arange(steps + 1) * total // steps)

    def _labels_in(self, packs: Rows) -> Rows:
        """[steps]: labels in each batch, at most as many as there are."""
        return np.minimum(self.slots - packs, len(self._groups))

    def _loose_in(self, packs: Rows) -> Rows:
        """[steps]: images in the packs of each batch, none of them twice."""
        return np.minimum(packs * self._pack_images, len(self._loose))

    def _draw_groups(self, turns: Rows, random: np.random.Generator) -> list[Rows]:
        """For each turn of a label (its place in ``_groups``) a group of its images."""
        size = self.setting.images_per_label
        drawn: list[Rows] = [np.empty(0, np.int64)] * len(turns)
        order = np.argsort(turns, kind="stable")
        for of_label in np.split(order, np.flatnonzero(np.diff(turns[order])) + 1):
            rows = self._groups[turns[of_label[0]]]
            distinct = np.full(len(of_label), min(size, len(rows)))
            for turn, places in zip(of_label, in_turns(len(rows), distinct, random), strict=True):
                drawn[turn] = np.resize(rows[places], size)
        return drawn

    def _check(self) -> None:
        size, batch = self.setting.images_per_label, self.setting.batch_size
        if len(self._groups) < LEAST_LABELS:
            raise InvalidInput(
                f"Balanced sampling needs at least {LEAST_LABELS} labels with two images or more, and there "
                f"are {len(self._groups)} among {self.images:,} images. Label more of them, or: "
                "--set training.sampling=all"
            )
        least = LEAST_LABELS + bool(len(self._loose))
        if self.slots < least:
            loose = f" and a pack of images that belong to no group ({self._who()})"
            raise InvalidInput(
                f"training.batch_size = {batch} has no room for {LEAST_LABELS} labels of {size} images each"
                f"{loose if len(self._loose) else ''}. Take at least: --set training.batch_size="
                f"{least * size}, or a smaller training.images_per_label (now {size})."
            )


def in_turns(count: int, sizes: Rows, random: np.random.Generator) -> list[Rows]:
    """Draw from 0 .. count - 1, none again before all others were drawn, and none twice in one draw.

    Where one order of all ends within a draw, the next begins with those that are not in it.

    Args:
        count: how many there are.
        sizes: of each draw, at most ``count``.
        random: draws the orders.

    Raises:
        ValueError: a draw is larger than there are.
    """
    if len(sizes) and sizes.max() > count:
        raise ValueError(f"A draw of {sizes.max()} distinct ones out of {count} cannot be made.")
    draws, waiting = [], np.empty(0, np.int64)
    for size in sizes.tolist():
        if len(waiting) < size:
            order = random.permutation(count)
            again = np.isin(order, waiting)
            waiting = np.concatenate([waiting, order[~again], order[again]])
        draws.append(waiting[:size])
        waiting = waiting[size:]
    return draws
