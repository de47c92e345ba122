"""What a selection strategy is given, and what it gives back.

In: rows that stand for images, in the order in which the seed draws them, and which of them are chosen.
Out: the rows to add. A strategy has no other source of chance than that order, does no I/O and asks no
teacher: planning again gives the same choice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.vectors import Float32Rows

Indices = NDArray[np.int64]

SIMILARITIES_AT_ONCE = 16_000_000
"""Cosines held at one time (64 MB): a block of rows against all, never all against all."""


class Strategy(Protocol):
    """A way to choose."""

    def __call__(self, rows: Float32Rows, chosen: Sequence[int], wanted: int) -> list[int]:
        """Rows to add, in order.

        Args:
            rows: [n, d] of unit length, in the order that the seed draws; [n, 0] where the strategy does
                not look at images.
            chosen: rows that are chosen already, in their order.
            wanted: how many to add, at most the number of rows that are free.
        """


@dataclass(frozen=True)
class Method:
    """A strategy and what is true of it."""

    strategy: Strategy
    looks: bool
    """It needs the images' descriptors."""
    nested: bool
    """A larger choice begins with the smaller one."""


def free_rows(n: int, chosen: Sequence[int]) -> Indices:
    """The rows out of ``n`` that are not chosen, in the order that the seed draws."""
    free = np.ones(n, dtype=bool)
    free[list(chosen)] = False
    return np.flatnonzero(free)


def blocks(rows: Float32Rows, others: Float32Rows) -> Iterator[tuple[int, Float32Rows]]:
    """(first row, cosines [b, m] of some rows to all of ``others``), in bounded memory."""
    height = max(1, SIMILARITIES_AT_ONCE // max(1, len(others)))
    for start in range(0, len(rows), height):
        yield start, rows[start : start + height] @ others.T
