"""What a pickle of plain data may name: numpy's arrays and scalars, sets and bytes, each rebuilt by us.

In: a module and a name, later arguments and a state. Out: values, or
:class:`~student_trainer.datasets.pickled_keys.Refused`. numpy's own functions
are not called with what a file says: they would claim memory for any shape, and take any type. Files
written under numpy 1 and under numpy 2 name the same functions by different modules.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from student_trainer.datasets.pickled_keys import Refused, add

Spend: TypeAlias = Callable[[int], None]
"""Called with the bytes that are about to be made anew, beside what the file holds; may refuse."""

_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU][1-9]\d{0,6}|O8?)")
_MOST_AXES = 32
_LONGEST_AXIS = 2**40
"""More than any file holds."""
_BYTES_OF_A_MEMBER = 100
"""Of a set, roughly."""


@dataclass(frozen=True)
class Name:
    """A function or type that a pickle may name; it does what we say it does."""

    text: str
    call: Callable[[tuple[Any, ...], Spend], Any]

    def __str__(self) -> str:
        return self.text


@dataclass(eq=False)
class Unbuilt(ABC):
    """A value whose content comes later, after it has been given places in the memo."""

    places: list[int] = field(default_factory=list, init=False)

    @abstractmethod
    def build(self, state: Any, spend: Spend) -> Any:
        """The value itself."""


@dataclass(eq=False)
class _UnbuiltType(Unbuilt):
    code: str

    def __str__(self) -> str:
        return "a numpy type"

    def build(self, state: Any, spend: Spend) -> np.dtype[Any]:
        """From (version, byte order, sub-array, names, fields, ...)."""
        if not isinstance(state, tuple) or len(state) < 5 or state[2:5] != (None, None, None):
            raise Refused("it holds a numpy array of records")
        dtype = np.dtype(self.code)
        return dtype.newbyteorder(">") if state[1] == ">" else dtype


@dataclass(eq=False)
class _UnbuiltArray(Unbuilt):
    def __str__(self) -> str:
        return "a numpy array without content"

    def build(self, state: Any, spend: Spend) -> Any:
        """From ([version,] shape, type, Fortran order, bytes); a list of objects stays a list."""
        shape, dtype, fortran, raw = state[-4:]
        return _array(raw, dtype, shape, "F" if fortran else "C", spend)


def name_of(module: str, name: str) -> Name:
    """What stands behind a name.

    Raises:
        Refused: it is none that plain data needs.
    """
    known = _NAMES.get((module, name))
    if known is None:
        raise Refused(f"it names {module[:100]}.{name[:100]}")
    return Name(f"{module}.{name}", known)


def _array(raw: Any, dtype: Any, shape: Any, order: str, spend: Spend) -> NDArray[Any] | list[Any]:
    dtype = _built(dtype)
    if isinstance(shape, int):
        shape = (shape,)
    if len(shape) > _MOST_AXES or not all(
        type(length) is int and 0 <= length <= _LONGEST_AXIS for length in shape
    ):
        raise Refused("it is damaged: a numpy array with a shape that cannot be")
    if dtype.hasobject:
        if type(raw) is not list or shape != (len(raw),):
            raise Refused("it holds a numpy array of objects in more than one row")
        return raw
    data = _as_bytes(raw, spend)
    if prod(shape) * dtype.itemsize != len(data):
        raise Refused(
            f"it is damaged: a numpy array of shape {shape} and type {dtype} in {len(data):,} bytes"
        )
    if not data:
        return np.zeros(shape, dtype)
    # A view, so that one run of bytes can't be multiplied.
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _scalar(arguments: tuple[Any, ...], spend: Spend) -> Any:
    dtype, raw = arguments
    dtype, data = _built(dtype), _as_bytes(raw, spend)
    if dtype.hasobject or dtype.itemsize != len(data):
        raise Refused(f"it is damaged: a number of type {dtype} in {len(data):,} bytes")
    spend(len(data))
    return np.frombuffer(data, dtype)[0]


def _type(arguments: tuple[Any, ...], _: Spend) -> _UnbuiltType:
    code = arguments[0]
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise Refused(f"it holds a numpy array of type {str(code)[:100] if isinstance(code, str) else '?'}")
    return _UnbuiltType(code)


def _built(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, np.dtype):
        raise Refused("it is damaged: a numpy array without a type")
    return dtype


def _from_buffer(arguments: tuple[Any, ...], spend: Spend) -> Any:
    raw, dtype, shape, order = arguments
    return _array(raw, dtype, shape, order, spend)


def _encode(arguments: tuple[Any, ...], spend: Spend) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    text, codec = arguments
    if codec not in ("latin1", "latin-1"):
        raise Refused(f"it encodes text as {str(codec)[:100]}")
    return _as_bytes(text, spend)


def _as_bytes(raw: Any, spend: Spend) -> bytes:
    """Python 2 wrote bytes as text, a character each."""
    if isinstance(raw, str):
        spend(len(raw))
        return raw.encode("latin-1")
    if not isinstance(raw, bytes):
        raise Refused(f"it is damaged: a {type(raw).__name__} where bytes should be")
    return raw


def _bytes(arguments: tuple[Any, ...], spend: Spend) -> bytes:
    return _as_bytes(arguments[0], spend) if arguments else b""


def _set(arguments: tuple[Any, ...], spend: Spend) -> set[Any]:
    members = arguments[0] if arguments else []
    if type(members) is not list:
        raise Refused(f"it makes a set of a {type(members).__name__}")
    spend(_BYTES_OF_A_MEMBER * len(members))
    return add(set(), members)


def _frozen_set(arguments: tuple[Any, ...], spend: Spend) -> frozenset[Any]:
    return frozenset(_set(arguments, spend))


def _not_called(arguments: tuple[Any, ...], _: Spend) -> Any:
    raise Refused("it calls a type that only stands for itself")


_NAMES: dict[tuple[str, str], Callable[[tuple[Any, ...], Spend], Any]] = {
    ("numpy", "ndarray"): _not_called,
    ("numpy", "dtype"): _type,
    ("_codecs", "encode"): _encode,
}
for _core in ("core", "_core"):
    _NAMES[f"numpy.{_core}.multiarray", "_reconstruct"] = lambda arguments, spend: _UnbuiltArray()
    _NAMES[f"numpy.{_core}.multiarray", "scalar"] = _scalar
    _NAMES[f"numpy.{_core}.numeric", "_frombuffer"] = _from_buffer
for _builtins in ("builtins", "__builtin__"):
    _NAMES[_builtins, "set"] = _set
    _NAMES[_builtins, "frozenset"] = _frozen_set
    _NAMES[_builtins, "bytes"] = _bytes
    _NAMES[_builtins, "bytearray"] = _bytes
