"""Descriptors that are read by slices: from a file, from several databases as one, or changed on the way.

In: a file of raw float32 or float16 rows, or other databases. Out: something that
:mod:`student_trainer.evaluate.search.exact` can read block by block. A file is read, not mapped: pages of a
map would count as memory of the process until the system takes them back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from student_trainer.errors import StorageFailed
from student_trainer.evaluate.ranking import Float32Rows
from student_trainer.evaluate.search.blocks import Rows, len_of


@dataclass(frozen=True)
class FileRows:
    """Rows [N, d] in a file of nothing else, row by row, little-endian."""

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Read from the disk.

        Raises:
            StorageFailed: the file is gone or too short.
        """
        start, stop, _ = rows.indices(self.shape[0])
        count, dim = max(0, stop - start), self.shape[1]
        try:
            with self.path.open("rb") as file:
                file.seek(start * dim * self.dtype.itemsize)
                values = np.fromfile(file, self.dtype, count * dim)
        except OSError as error:
            raise StorageFailed(f"{self.path} cannot be read: {error.strerror}. {_AGAIN}") from None
        if len(values) != count * dim:
            raise StorageFailed(f"{self.path} is too short for {self.shape[0]:,} rows of {dim}. {_AGAIN}")
        return values.reshape(count, dim)


@dataclass(frozen=True)
class Joined:
    """Several databases as one, in order.

    Raises:
        ValueError: none, or dimensions that differ.
    """

    parts: Sequence[Rows]

    def __post_init__(self) -> None:
        dims = {int(part.shape[1]) for part in self.parts}
        if len(dims) != 1:
            raise ValueError(f"Databases of one dimension can be joined, these have {sorted(dims)}.")

    @property
    def shape(self) -> tuple[int, int]:
        """(N of all, d)."""
        return sum(map(len_of, self.parts)), int(self.parts[0].shape[1])

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """From one part, or from several end to end."""
        start, stop, _ = rows.indices(self.shape[0])
        found, first = [], 0
        for part in self.parts:
            here = slice(max(0, start - first), max(0, min(stop - first, len_of(part))))
            if here.start < here.stop:
                found.append(part[here])
            first += len_of(part)
        if not found:
            return np.empty((0, self.shape[1]), dtype=np.float32)
        return found[0] if len(found) == 1 else np.concatenate(found)


@dataclass(frozen=True)
class Changed:
    """A database whose rows go through a function when they are read, such as a whitening."""

    rows: Rows
    change: Callable[[Float32Rows], Float32Rows]
    """float32 [n, d] -> [n, dim], each row by itself."""
    dim: int

    @property
    def shape(self) -> tuple[int, int]:
        """(N, dim)."""
        return len_of(self.rows), self.dim

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Changed rows."""
        return self.change(np.asarray(self.rows[rows], dtype=np.float32))


_AGAIN = "Delete it and run the same command again: it is made anew."
