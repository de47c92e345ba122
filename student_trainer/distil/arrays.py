"""Arrays of many shapes in one memory-mapped file, handed out in chunks of one shape.

In: a file of numbers, and the shape and place of each array in it. Out: single arrays, or a batch of them as
chunks that are stacked while the caller works on the last one.

The operating system keeps the file in memory where there is room, and reads it again where there is not.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from student_trainer.distil.processes import ALONE, Processes
from student_trainer.errors import StorageFailed

T = TypeVar("T")
Shape = tuple[int, ...]


class Alteration(Protocol):
    """What is handed out in place of the arrays of a batch: a function of each array's place in it."""

    def shape(self, position: int, shape: Shape) -> Shape:
        """Of what is handed out for an array of that shape."""
        ...

    def apply(self, position: int, array: NDArray[Any]) -> NDArray[Any]:
        """What is handed out, of that shape and the same type."""
        ...


@dataclass(frozen=True)
class ArrayChunk:
    """Arrays of one shape out of a batch."""

    positions: Tensor
    """long [b]: which rows of the batch these are."""
    values: Tensor
    """[b, *shape], of the file's type."""


@dataclass(frozen=True)
class ArrayStore:
    """Arrays, by index."""

    values: NDArray[Any]
    """All of them, one after another, flat."""
    offsets: tuple[int, ...]
    shapes: tuple[Shape, ...]

    def __len__(self) -> int:
        return len(self.shapes)

    def array(self, index: int) -> NDArray[Any]:
        """A view of the file."""
        start, shape = self.offsets[index], self.shapes[index]
        return self.values[start : start + math.prod(shape)].reshape(shape)

    def take(self, indices: Sequence[int]) -> Self:
        """The arrays ``indices`` alone, in that order, of the same file."""
        return replace(
            self,
            offsets=tuple(self.offsets[index] for index in indices),
            shapes=tuple(self.shapes[index] for index in indices),
        )

    def chunks(
        self,
        indices: Sequence[int],
        chunk_size: int,
        *,
        pin: bool = False,
        processes: Processes = ALONE,
        alteration: Alteration | None = None,
    ) -> Iterator[ArrayChunk]:
        """The arrays ``indices`` in chunks of one shape and at most ``chunk_size`` arrays.

        Several processes share out whole chunks, which are the same as those of one: a descriptor has the
        same bits whoever computes it.

        The next chunk is copied out of the file while the caller works on the last one. ``pin``: in
        page-locked memory, from where a graphics card copies at full speed. ``alteration``: chunks hold what
        it makes of the arrays.
        """
        by_shape: dict[Shape, list[int]] = {}
        for position, index in enumerate(indices):
            shape = self.shapes[index]
            handed_out = shape if alteration is None else alteration.shape(position, shape)
            by_shape.setdefault(handed_out, []).append(position)
        groups = [(shape, group) for shape, rows in by_shape.items() for group in cut(rows, chunk_size)]
        mine = processes.share([len(group) * math.prod(shape) for shape, group in groups])

        def one(position: int) -> NDArray[Any]:
            array = self.array(indices[position])
            return array if alteration is None else alteration.apply(position, array)

        def copy(positions: Sequence[int]) -> ArrayChunk:
            arrays = map(one, positions) if alteration is None else altering.map(one, positions)
            values = torch.from_numpy(np.stack(list(arrays)))
            return ArrayChunk(torch.tensor(positions), values.pin_memory() if pin else values)

        with ThreadPoolExecutor(thread_name_prefix="alter") as altering:  # starts no thread that is not used
            yield from _one_ahead(copy, [groups[place][1] for place in mine])


def map_file(path: Path, dtype: DTypeLike, elements: int) -> NDArray[Any]:
    """The numbers of a file without reading them, [elements].

    Raises:
        StorageFailed: the file is not there or has another size.
    """
    if not elements:
        return np.empty(0, dtype)
    expected = elements * np.dtype(dtype).itemsize
    found = path.stat().st_size if path.exists() else 0
    if found != expected:
        raise StorageFailed(f"{path} has {found:,} bytes, expected {expected:,}; delete it.")
    # Copy-on-write, because torch wants writable arrays; nothing writes to it.
    return np.memmap(path, dtype, mode="c")


def remove_stores(folder: Path, pattern: str) -> None:
    """Remove files of numbers and their indices, indices first: what has an index is whole."""
    for path in sorted(folder.glob(pattern), key=lambda path: path.suffix != ".json"):
        path.unlink()


def ends(shapes: Iterable[Shape]) -> list[int]:
    """Where each array ends, in elements, when they lie one after another."""
    return list(accumulate(math.prod(shape) for shape in shapes))


def cut(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive parts of at most ``size`` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _one_ahead(
    make: Callable[[Sequence[int]], ArrayChunk], groups: Iterable[Sequence[int]]
) -> Iterator[ArrayChunk]:
    """Map, with the next result made in a thread while the caller holds the last one."""
    with ThreadPoolExecutor(max_workers=1) as worker:
        waiting: Future[ArrayChunk] | None = None
        for group in groups:
            following = worker.submit(make, group)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
