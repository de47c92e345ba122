"""What happens when: which images each step sees, at which learning rate.

In: the number of images and the training section of a recipe. Out: the steps, each a function of
(seed, epoch, place in the epoch) alone, so that training can be taken up at any step.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from student_trainer.recipe_sections import TrainingSection


@dataclass(frozen=True)
class Moment:
    """One step."""

    step: int
    """Counted from 1, over all epochs."""
    epoch: int
    """Counted from 1."""
    batch: NDArray[np.int64]
    """Which images."""
    learning_rate: float
    ends_epoch: bool
    tuples: NDArray[np.int64] | None = None
    """Rows [T, 2 + N] of the tuples that the batch is of; None where it is of images, each for itself."""


@dataclass(frozen=True)
class Schedule:
    """An epoch is every image once, in ceil(n / batch_size) batches whose sizes differ by at most one.

    The last batch would otherwise be a remainder of a few images, which have little to be ranked against.
    """

    images: int
    setting: TrainingSection

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which every image stands once."""
        return math.ceil(self.images / self.setting.batch_size)

    @property
    def total_steps(self) -> int:
        """Of all epochs."""
        return self.setting.epochs * self.steps_per_epoch

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """The batches of an epoch (counted from 1), shuffled by (seed, epoch) alone."""
        order = np.random.default_rng([self.setting.seed, epoch]).permutation(self.images)
        return np.array_split(order, self.steps_per_epoch)

    def learning_rate(self, epoch: int) -> float:
        """Of all steps of an epoch."""
        return decayed_rate(self.setting, epoch)

    def images_seen(self, steps: int) -> int:
        """How many images the first ``steps`` steps show, counted once for each epoch."""
        epochs, places = divmod(steps, self.steps_per_epoch)
        begun = self.batches(epochs + 1)[:places]
        return epochs * self.images + sum(len(batch) for batch in begun)

    def after(self, finished_steps: int) -> Iterator[Moment]:
        """The steps that are left when ``finished_steps`` are done."""
        for epoch in range(finished_steps // self.steps_per_epoch + 1, self.setting.epochs + 1):
            for place, batch in enumerate(self.batches(epoch), start=1):
                step = (epoch - 1) * self.steps_per_epoch + place
                if step > finished_steps:
                    at_end = place == self.steps_per_epoch
                    yield Moment(step, epoch, batch, self.learning_rate(epoch), at_end)


def decayed_rate(setting: TrainingSection, epoch: int) -> float:
    """lr * exp(-decay * e) with e = 0 in the first epoch, which is counted as 1 (Section 4 of the paper)."""
    return setting.learning_rate * math.exp(-setting.learning_rate_decay * (epoch - 1))
