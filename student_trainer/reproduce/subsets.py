"""Which of the bought images a training learns from: nested in size, drawn by seed, sparse where asked.

In: a transfer set that was bought once. Out: parts of it; no query is spent. Everything hangs on the images'
digests, the descriptors and the seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from student_trainer.curve.grid import nested_rows
from student_trainer.distil.data import TrainingData
from student_trainer.errors import InvalidInput


@dataclass(frozen=True)
class Pool:
    """What was bought, and how smaller sets are cut from it."""

    data: TrainingData
    in_order_of_choice: bool
    """A smaller plan would have bought the first of these images, so they are the smaller set; otherwise
    each seed draws its own."""
    tau: float
    """Above which two images are neighbours, for the sparse setting."""

    def part(self, seed: int, size: int, sparse: int | None = None) -> TrainingData:
        """``size`` images, or with ``sparse`` as many as can be had up to that.

        Raises:
            InvalidInput: fewer than two images are sparse enough.
        """
        digests = [image.digest for image in self.data.images]
        rows = nested_rows(digests, seed, in_order_of_choice=self.in_order_of_choice)
        if sparse is not None:
            assert self.data.teacher is not None
            rows = sparse_rows(self.data.teacher, rows, self.tau, sparse, size)
            if len(rows) < 2:
                raise InvalidInput(
                    f"Only {len(rows)} of {len(self.data):,} bought images have at most {sparse} others "
                    f"above tau = {self.tau:g}: a sparse set needs images that resemble each other less."
                )
        return self.data.take(sorted(rows[:size]))


def sparse_rows(
    teacher: NDArray[np.float32], order: Sequence[int], tau: float, at_most: int, size: int
) -> list[int]:
    """Rows of [n, D] that have at most ``at_most`` of each other above ``tau``; up to ``size`` of them.

    Taken greedily in the given order: an image is left out if with it some chosen image, or itself, would
    have more neighbours among the chosen than allowed (Laskar and Kannala 2020, Section 7, Table 7).
    """
    units = teacher / np.linalg.norm(teacher, axis=1, keepdims=True)
    chosen: list[int] = []
    taken = np.empty((min(size, len(order)), units.shape[1]), dtype=units.dtype)
    counts = np.zeros(len(taken), dtype=np.int64)
    for row in order:
        if len(chosen) == len(taken):
            break
        near = taken[: len(chosen)] @ units[row] > tau
        if near.sum() > at_most or (counts[: len(chosen)][near] >= at_most).any():
            continue
        counts[: len(chosen)] += near
        counts[len(chosen)] = near.sum()
        taken[len(chosen)] = units[row]
        chosen.append(row)
    return chosen
