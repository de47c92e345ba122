"""Read MATLAB's files of version 5 (``.mat`` saved with -v6 or -v7), as far as lists of images need it.

In: a file that strangers made. Out: of the variables asked for, numbers as numpy arrays, text as strings,
cells as lists and structs as lists of dictionaries; or :class:`~student_trainer.errors.InvalidInput`.

Source: MathWorks, "MAT-File Format" (Level 5). Nothing in such a file is code. It is read here, and not by
scipy, because of what a small file may claim: of 300 KB that unpack to 300 MB, scipy made 1.2 GB.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from student_trainer.datasets.pickled_keys import Refused
from student_trainer.errors import InvalidInput

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_TEXT_CODECS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)
_COMPLEX = 0x800


@dataclass(frozen=True)
class MatlabBounds:
    """What a file may cost. The largest public one that is read has 16,185 records in under a megabyte."""

    file_bytes: int = 32_000_000
    unpacked_bytes: int = 128_000_000
    matrices: int = 1_000_000
    """Each takes about 200 bytes beside its content."""
    depth: int = 8
    dimensions: int = 32
    """MATLAB allows more, numpy not."""


DEFAULT_BOUNDS = MatlabBounds()


def read_matlab(path: Path, wanted: Sequence[str], bounds: MatlabBounds = DEFAULT_BOUNDS) -> dict[str, Any]:
    """Those of the ``wanted`` variables that the file holds.

    Raises:
        InvalidInput: it cannot be read, is of another version, damaged, larger than its bounds, or a wanted
            variable is of a kind that is not read (objects, functions, sparse or complex numbers).
    """
    try:
        with path.open("rb") as file:
            data = file.read(bounds.file_bytes + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from None
    try:
        return _variables(data, wanted, bounds)
    except Refused as refusal:
        raise InvalidInput(f"{path} is refused: {refusal}. Get the file again from its project.") from None
    # What damaged bytes lead to.
    except (ValueError, struct.error, zlib.error, OverflowError) as error:
        raise InvalidInput(
            f"{path} is cut or damaged ({type(error).__name__}: {str(error)[:100]}). Get the file again from "
            "its project."
        ) from None


def _variables(data: bytes, wanted: Sequence[str], bounds: MatlabBounds) -> dict[str, Any]:
    if len(data) > bounds.file_bytes:
        raise Refused(f"it has more than {bounds.file_bytes:,} bytes")
    reader = _Reader(_byte_order(data), bounds)
    found = {}
    for kind, content in reader.elements(memoryview(data)[_HEADER_BYTES:]):
        parts = [(kind, content)] if kind != _COMPRESSED else reader.elements(reader.unpacked(content))
        for part, matrix in parts:
            if part == _MATRIX and (name := reader.name_of(matrix)) in wanted:
                found[name] = reader.value(matrix, 0)
    return found


def _byte_order(data: bytes) -> str:
    mark, version = data[126:128], data[124:126]
    order = {b"IM": "<", b"MI": ">"}.get(mark)
    if order is None or version not in (b"\x00\x01", b"\x01\x00"):
        raise Refused("it is no MATLAB file of version 5 (of version 7.3 or 4, save it anew with -v7)")
    return order


@dataclass
class _Reader:
    """For one file."""

    order: str
    bounds: MatlabBounds
    unpacked_bytes: int = 0
    matrices: int = 0
    kinds: dict[int, Callable[[int, "_Parts", int], Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.kinds = {_CELL: self._cells, _STRUCT: self._records, _CHAR: self._text}
        self.kinds |= dict.fromkeys(_NUMERIC, self._numbers)

    def unpacked(self, content: memoryview) -> memoryview:
        """What a compressed element holds, within the bounds of the file."""
        left = self.bounds.unpacked_bytes - self.unpacked_bytes
        data = zlib.decompressobj().decompress(content, left + 1)
        self.unpacked_bytes += len(data)
        if len(data) > left:
            raise Refused(f"it unpacks to more than {self.bounds.unpacked_bytes:,} bytes")
        return memoryview(data)

    def elements(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Type and content of one element after the other."""
        place = 0
        while place < len(data):
            [first] = struct.unpack_from(f"{self.order}I", data, place)
            if first >> 16:  # up to four bytes stand in the tag itself
                kind, size, start, place = first & 0xFFFF, first >> 16, place + 4, place + 8
            else:
                kind, [size] = first, struct.unpack_from(f"{self.order}I", data, place + 4)
                start = place + 8
                place = start + size + (-size % 8 if kind != _COMPRESSED else 0)
            if start + size > len(data):
                raise Refused("it is cut")
            yield kind, data[start : start + size]

    def name_of(self, matrix: memoryview) -> str:
        """The variable's; empty of an empty one."""
        parts = _Parts(self.elements(matrix))
        return "" if not len(matrix) else bytes(parts.skip(2).next()[1]).decode("latin-1")

    def value(self, matrix: memoryview, depth: int) -> Any:
        """What a matrix holds, its parts included."""
        self._room_for(1)
        self.matrices += 1
        if depth > self.bounds.depth:
            raise Refused(f"it holds values within each other, more than {self.bounds.depth} deep")
        if not len(matrix):
            return np.empty(0)
        parts = _Parts(self.elements(matrix))
        flags = struct.unpack_from(f"{self.order}I", parts.next()[1])[0]
        count = self._size(parts.next()[1])
        build = self.kinds.get(flags & 0xFF)
        if build is None or flags & _COMPLEX:
            raise Refused(f"it holds a value of MATLAB's class {flags & 0xFF}, of which only lists are made")
        return build(count, parts.skip(1), depth)

    def _size(self, dimensions: memoryview) -> int:
        """How many items a value is said to have; no more than its file may unpack to bytes."""
        if len(dimensions) > 4 * self.bounds.dimensions:
            raise Refused(f"it holds a value of more than {self.bounds.dimensions} dimensions")
        shape = np.frombuffer(dimensions, f"{self.order}i4").tolist()
        if min(shape, default=0) < 0:
            raise Refused("it is damaged: a value of a negative size")
        count = 0 if 0 in shape else 1
        for side in shape:
            count *= side
            if count > self.bounds.unpacked_bytes:
                raise Refused(f"it is damaged: a value of more than {self.bounds.unpacked_bytes:,} items")
        return count

    def _room_for(self, matrices: int) -> None:
        """Refuse what would go beyond the bounds before any of it is built."""
        if self.matrices + matrices > self.bounds.matrices:
            raise Refused(f"it holds more than {self.bounds.matrices:,} values")

    def _cells(self, count: int, parts: "_Parts", depth: int) -> list[Any]:
        self._room_for(count)
        return [self.value(parts.matrix(), depth + 1) for _ in range(count)]

    def _records(self, count: int, parts: "_Parts", depth: int) -> list[dict[str, Any]]:
        [width] = struct.unpack_from(f"{self.order}i", parts.next()[1])
        joined = bytes(parts.next()[1])
        if width < 1 or len(joined) % width:
            raise Refused("it is damaged: a struct whose names have no length")
        starts = range(0, len(joined), width)
        self._room_for(max(count, 1) * len(starts) + count)
        self.matrices += count  # a record takes memory of its own, even one without a field
        names = [joined[start : start + width].split(b"\0")[0].decode("latin-1") for start in starts]
        return [{name: self.value(parts.matrix(), depth + 1) for name in names} for _ in range(count)]

    def _text(self, count: int, parts: "_Parts", _: int) -> str:
        kind, content = parts.next()
        if kind not in _TEXT_CODECS:
            raise Refused(f"it holds text of the type {kind}")
        codec = _TEXT_CODECS[kind]
        if codec == "utf-16":
            codec += "-le" if self.order == "<" else "-be"
        return bytes(content).decode(codec)

    def _numbers(self, count: int, parts: "_Parts", _: int) -> Any:
        """Flat, in MATLAB's order; they may be stored in a smaller type than their class."""
        kind, content = parts.next()
        if kind not in _NUMBERS:
            raise Refused(f"it holds numbers of the type {kind}")
        numbers = np.frombuffer(content, f"{self.order}{_NUMBERS[kind]}")
        if len(numbers) != count:
            raise Refused(f"it is damaged: {len(numbers):,} numbers where {count:,} should be")
        return numbers


class _Parts:
    """The elements of a matrix, one after the other."""

    def __init__(self, elements: Iterator[tuple[int, memoryview]]) -> None:
        self._elements = elements

    def next(self) -> tuple[int, memoryview]:
        """The following one."""
        for element in self._elements:
            return element
        raise Refused("it is cut or damaged: a value lacks a part")

    def skip(self, count: int) -> "_Parts":
        """Pass over some."""
        for _ in range(count):
            self.next()
        return self

    def matrix(self) -> memoryview:
        """The following one, which has to be a matrix."""
        kind, content = self.next()
        if kind != _MATRIX:
            raise Refused(f"it is damaged: an element of type {kind} where a value should be")
        return content
