"""Exact search in a database that need not fit in memory.

In: query descriptors, and a database that is read block by block. Out: the best k images of every query, or
the exact ranks of a few listed images. No approximation: the order is that of the float32 similarities as
they are computed block by block, equal ones by database index. It is that of
:func:`student_trainer.evaluate.ranking.rank` but among images whose similarities differ by no more than the
rounding of a product; bit-equal descriptors, which tie there, are such images.

Average precision over a million distractors needs the ranks of a few hundred images, not the order of all:
an image's rank is the number of those that stand before it, which is counted and never sorted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from student_trainer.evaluate.ranking import Float32Rows, Ranks
from student_trainer.evaluate.search.blocks import Rows, checked, compared, len_of


@dataclass(frozen=True)
class Found:
    """The best images of every query, best first; equal similarities by database index."""

    indices: Ranks
    """int64 [Q, k]."""
    similarities: Float32Rows
    """float32 [Q, k]."""


def top_k(
    queries: Float32Rows, database: Rows, k: int, on_rows: Callable[[int], None] = lambda rows: None
) -> Found:
    """The k nearest database images of every query by dot product; all of them where there are fewer.

    Args:
        queries: float32 [Q, d], unit rows.
        database: [N, d], read once from its beginning to its end.
        k: at least 1.
        on_rows: called after each block with the number of its rows.

    Raises:
        ValueError: k below 1, dimensions that differ, or a descriptor with NaN or infinity.
    """
    if k < 1:
        raise ValueError(f"A search needs k of at least 1, got {k}.")
    queries = checked(queries)
    best = [_Best(k) for _ in queries]
    floors = np.full(len(queries), -np.inf, dtype=np.float32)
    for start, similarities in compared(queries, database):
        row, of_query = divmod(np.flatnonzero(similarities > floors), max(1, len(queries)))
        by_query = np.argsort(of_query, kind="stable")
        row, ends = row[by_query], np.searchsorted(of_query[by_query], np.arange(len(queries) + 1))
        for query in np.flatnonzero(np.diff(ends)):
            new = row[ends[query] : ends[query + 1]]
            floors[query] = best[query].take(start + new, similarities[new, query])
        on_rows(len(similarities))
    return Found(
        np.stack([one.indices for one in best]) if best else np.empty((0, k), dtype=np.int64),
        np.stack([one.values for one in best]) if best else np.empty((0, k), dtype=np.float32),
    )


def ranks_of(
    queries: Float32Rows,
    database: Rows,
    listed: Sequence[NDArray[np.int64]],
    on_rows: Callable[[int], None] = lambda rows: None,
) -> list[Ranks]:
    """The places of a few images in the ranking of the whole database, which is not sorted.

    Args:
        queries: float32 [Q, d], unit rows.
        database: [N, d]; blocks that hold a listed image are read twice.
        listed: per query, distinct database indices in any order.
        on_rows: called after each counted block with the number of its rows.

    Returns:
        Per query int64, the 0-based rank of ``listed[q][i]`` at place i.

    Raises:
        ValueError: lists that do not fit, dimensions that differ, or a descriptor with NaN or infinity.
    """
    queries = checked(queries)
    _check_listed(listed, len(queries), len_of(database))
    needles = [_Needles(np.asarray(indices, dtype=np.int64)) for indices in listed]
    # Similarities of the listed come from the very products that are counted: the last bit decides ties.
    wanted = np.unique(np.concatenate([np.empty(0, np.int64), *(one.indices for one in needles)]))
    for start, similarities in compared(queries, database, only=wanted):
        for query, one in enumerate(needles):
            one.note(start, similarities[:, query])
    for one in needles:
        one.sort()
    for start, similarities in compared(queries, database):
        for one, row in zip(needles, np.ascontiguousarray(similarities.T), strict=True):
            one.count(start, row)
        on_rows(len(similarities))
    return [one.ranks() for one in needles]


@dataclass
class _Best:
    """The best images that one query has met so far."""

    k: int
    indices: Ranks = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    values: Float32Rows = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    def take(self, indices: Ranks, values: Float32Rows) -> np.float32:
        """Add images that come later in the database; what a further one must exceed (-inf below k)."""
        if len(values) > self.k:
            kept = np.flatnonzero(values >= np.partition(values, -self.k)[-self.k])
            indices, values = indices[kept], values[kept]
        indices, values = np.concatenate([self.indices, indices]), np.concatenate([self.values, values])
        order = np.argsort(-values, kind="stable")[: self.k]
        self.indices, self.values = indices[order], values[order]
        return self.values[-1] if len(order) == self.k else np.float32(-np.inf)


class _Needles:
    """The listed images of one query, and how many database images stand before each."""

    def __init__(self, indices: NDArray[np.int64]) -> None:
        self.indices = indices
        self._values = np.empty(len(indices), dtype=np.float32)
        self._before = np.zeros(len(indices), dtype=np.int64)
        self._order = np.arange(len(indices))

    def note(self, start: int, similarities: Float32Rows) -> None:
        """Remember the similarities of those that lie in a block."""
        here = (self.indices >= start) & (self.indices < start + len(similarities))
        self._values[here] = similarities[self.indices[here] - start]

    def sort(self) -> None:
        """By similarity, the lowest first; to be called once all are noted."""
        self._order = np.argsort(self._values, kind="stable")
        self._values = self._values[self._order]

    def count(self, start: int, similarities: Float32Rows) -> None:
        """Count the images of a block that stand before each listed one."""
        if not len(self._values):
            return
        # Some 16 thousand numbers: quicker than a search among the listed for each.
        ascending = np.sort(similarities)
        upper = np.searchsorted(ascending, self._values, "right")
        self._before += len(ascending) - upper
        tied = upper - np.searchsorted(ascending, self._values, "left")
        listed = self.indices[self._order]
        itself = (listed >= start) & (listed < start + len(similarities))
        for value in np.unique(self._values[tied > itself]):
            self._count_ties(start + np.flatnonzero(similarities == value), value)

    def ranks(self) -> Ranks:
        """In the order of ``indices``."""
        ranks = np.empty_like(self._before)
        ranks[self._order] = self._before
        return ranks

    def _count_ties(self, same: Ranks, value: np.float32) -> None:
        """Of equally similar images, those of a lower database index stand before."""
        first, last = (int(np.searchsorted(self._values, value, side)) for side in ("left", "right"))
        self._before[first:last] += np.searchsorted(same, self.indices[self._order[first:last]])


def _check_listed(listed: Sequence[NDArray[np.int64]], queries: int, database: int) -> None:
    if len(listed) != queries:
        raise ValueError(f"{len(listed)} lists of images were given for {queries} queries.")
    for query, indices in enumerate(map(np.asarray, listed)):
        if len(indices) and (indices.min() < 0 or indices.max() >= database):
            raise ValueError(f"Query {query} lists an image outside the database of {database:,}.")
        if len(np.unique(indices)) != len(indices):
            raise ValueError(f"Query {query} lists an image twice.")
