"""A database of descriptors, compared with queries block by block in bounded memory.

In: query descriptors, and a database as an array, a memory map or a file that gives slices, stored in float32
or float16. Out: the similarities of each block to every query. Where the blocks are cut depends on the shapes
alone, so a second pass gives the same bits. Equal rows in different places need not get the same ones: a
product of matrices may round them differently.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from student_trainer.evaluate.ranking import Float32Rows

BLOCK_BYTES = 24 * 2**20
"""Working memory of one block: its rows in float32, and their similarities to every query twice."""


class Rows(Protocol):
    """Descriptors [N, d] of which slices can be read: an array, a memory map, or a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, d)."""

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Float rows [n, d]."""


def len_of(database: Rows) -> int:
    """N, as a plain number."""
    return int(database.shape[0])


def gathered(database: Rows, indices: Sequence[int] | NDArray[np.int64]) -> Float32Rows:
    """A few rows by their indices: float32 [n, d] in the order given; not meant for many."""
    rows = [np.asarray(database[index : index + 1], dtype=np.float32) for index in map(int, indices)]
    return np.concatenate(rows) if rows else np.empty((0, database.shape[1]), dtype=np.float32)


def compared(
    queries: Float32Rows, database: Rows, only: NDArray[np.int64] | None = None
) -> Iterator[tuple[int, Float32Rows]]:
    """(index of its first row, similarities float32 [rows, Q]) of each block.

    Args:
        queries: as :func:`checked` returns them.
        database: [N, d], read once from its beginning to its end.
        only: sorted database indices; blocks without any of them are not even read.

    Raises:
        ValueError: dimensions that differ, or a database descriptor with NaN or infinity.
    """
    for start, block in _blocks(database, queries, only):
        if block.shape[1] != queries.shape[1]:
            raise ValueError(f"Queries have {queries.shape[1]} dimensions, the database {block.shape[1]}.")
        similarities = block @ queries.T
        # One query suffices: a product with NaN or infinity in it is never finite.
        wrong = ~np.isfinite(similarities[:, :1]).all(axis=1)
        if wrong.any():
            raise ValueError(f"Database descriptor {start + int(np.argmax(wrong))} holds NaN or infinity.")
        yield start, similarities


def _blocks(
    database: Rows, queries: Float32Rows, only: NDArray[np.int64] | None
) -> Iterator[tuple[int, Float32Rows]]:
    """Where each block starts, and its rows in float32; the cuts depend on the shapes alone."""
    size = max(1, BLOCK_BYTES // (4 * (queries.shape[1] + 2 * len(queries))))
    as_float32 = _Widener()
    rows = len_of(database)
    for start in range(0, rows, size):
        stop = min(start + size, rows)
        if only is None or np.searchsorted(only, start) < np.searchsorted(only, stop):
            yield start, as_float32(database[start:stop])


class _Widener:
    """Rows in float32; narrower ones in memory that is used again: fresh pages cost more than the work."""

    def __init__(self) -> None:
        self._wide: Float32Rows = np.empty((0, 0), dtype=np.float32)

    def __call__(self, rows: NDArray[Any]) -> Float32Rows:
        """The rows [n, d], valid until the next call."""
        if rows.ndim != 2:
            raise ValueError(f"Database descriptors must be [n, d], got shape {rows.shape}.")
        if rows.dtype != np.float16:
            return np.ascontiguousarray(rows, dtype=np.float32)
        import torch  # widens many numbers at a time, numpy one

        if self._wide.shape[0] < len(rows) or self._wide.shape[1] != rows.shape[1]:
            self._wide = np.empty(rows.shape, dtype=np.float32)
        wide = self._wide[: len(rows)]
        writable = rows if rows.flags.writeable and rows.flags.c_contiguous else rows.copy()
        threads = torch.get_num_threads()
        # Several of torch's threads would go on spinning, on the cores that numpy's product is to use.
        torch.set_num_threads(1)
        try:
            torch.from_numpy(wide).copy_(torch.from_numpy(writable))
        finally:
            torch.set_num_threads(threads)
        return wide


def checked(queries: Float32Rows) -> Float32Rows:
    """The queries in one piece; raises ValueError where one is not a row of finite numbers."""
    if queries.ndim != 2:
        raise ValueError(f"Query descriptors must be [n, d], got shape {queries.shape}.")
    finite = np.isfinite(queries).all(axis=1)
    if not finite.all():
        raise ValueError(f"Query descriptor {int(np.argmin(finite))} holds NaN or infinity.")
    return np.ascontiguousarray(queries, dtype=np.float32)
