"""What happens when, where batches are mined tuples: which tuples each step sees, at which learning rate.

In: how many tuples an epoch has, and in each epoch the tuples. Out: the steps. The tuples of an epoch are a
function of the weights at its beginning, so a checkpoint keeps them (:class:`Mined`); the rest is counting.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from student_trainer.distil.schedule import Moment, decayed_rate
from student_trainer.distil.tuples.draws import TupleDraws
from student_trainer.errors import InvalidInput
from student_trainer.recipe_sections import TrainingSection


@dataclass(frozen=True)
class Mined:
    """The tuples of one epoch."""

    epoch: int
    """Counted from 1."""
    tuples: NDArray[np.int64]
    """Rows [A, 2 + N]: anchor, positive, negatives."""

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"epoch": self.epoch, "tuples": torch.from_numpy(self.tuples)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """What :meth:`state` returned."""
        return cls(state["epoch"], state["tuples"].numpy())


@dataclass(frozen=True)
class TupleSchedule:
    """An epoch is every drawn anchor once; a step has as many whole tuples as ``batch_size`` images hold.

    Counted are the images that the student describes: where the teacher describes positives and negatives, a
    tuple is its anchor. Steps of an epoch differ by at most one tuple.

    Raises:
        InvalidInput: a batch cannot hold a tuple.
    """

    draws: TupleDraws
    setting: TrainingSection

    def __post_init__(self) -> None:
        size = self.draws.mining.described_images
        if self.setting.batch_size < size:
            raise InvalidInput(
                f"training.batch_size = {self.setting.batch_size} images, and a tuple has {size}: an anchor, "
                f"a positive and {size - 2} negatives. Take one at least: --set training.batch_size={size}."
            )

    @property
    def images(self) -> int:
        """What tuples are made from."""
        return len(self.draws.labels)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every anchor stands once."""
        return math.ceil(self.draws.anchors / (self.setting.batch_size // self.draws.mining.described_images))

    @property
    def total_steps(self) -> int:
        """Of all epochs."""
        return self.setting.epochs * self.steps_per_epoch

    def images_seen(self, steps: int) -> int:
        """How many images the student describes in the first ``steps`` steps, each as often as it does."""
        epochs, places = divmod(steps, self.steps_per_epoch)
        begun = sum(len(part) for part in self._parts()[:places])
        return (epochs * self.draws.anchors + begun) * self.draws.mining.described_images

    def moments(self, mined: Mined) -> Iterator[Moment]:
        """The steps of an epoch; a batch is what the student describes of its tuples, one after another."""
        first = (mined.epoch - 1) * self.steps_per_epoch + 1
        rate = decayed_rate(self.setting, mined.epoch)
        for place, part in enumerate(self._parts()):
            at_end = place == self.steps_per_epoch - 1
            tuples = mined.tuples[part]
            batch = tuples[:, : self.draws.mining.described_images].reshape(-1)
            yield Moment(first + place, mined.epoch, batch, rate, at_end, tuples)

    def _parts(self) -> list[NDArray[np.int64]]:
        """Which tuples of an epoch each of its steps sees."""
        return np.array_split(np.arange(self.draws.anchors), self.steps_per_epoch)
