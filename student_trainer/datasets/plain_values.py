"""Names and numbers out of what a pickle held, which may be lists or numpy arrays, and may be wrong.

In: plain data from :func:`~student_trainer.datasets.restricted_pickle.read_plain_pickle`. Out: tuples and
arrays of one type, or :class:`~student_trainer.errors.InvalidInput` that says where something else stood.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from student_trainer.errors import InvalidInput

LONGEST_NAME = 1_000
"""Characters. File systems take 255 in each part."""


def member(content: Any, key: str, where: str) -> Any:
    """``content[key]``.

    Raises:
        InvalidInput: it is no dictionary, or lacks the key.
    """
    if not isinstance(content, Mapping):
        raise InvalidInput(f"{where} should be a dictionary with {key!r}, but is {_kind(content)}.")
    if key not in content:
        found = ", ".join(sorted(str(name)[:40] for name in content)[:10]) or "nothing"
        raise InvalidInput(f"{where} lacks {key!r}; it holds: {found}.")
    return content[key]


def whole_numbers(value: Any, where: str) -> NDArray[np.int64]:
    """A list, tuple or array [n] of integers; floats are taken if they are whole, as Matlab writes them.

    Raises:
        InvalidInput: it is something else.
    """
    numbers = _row(value, where)
    if numbers.size == 0:
        return np.empty(0, dtype=np.int64)
    if numbers.dtype.kind not in "iuf" or not (np.abs(numbers) < 2**53).all() or (numbers % 1 != 0).any():
        raise InvalidInput(f"{where} should hold whole numbers, but is {_kind(value)} of something else.")
    return numbers.astype(np.int64)


def decimal_numbers(value: Any, where: str) -> tuple[float, ...]:
    """A list, tuple or array [n] of numbers.

    Raises:
        InvalidInput: it is something else.
    """
    numbers = _row(value, where)
    if numbers.dtype.kind not in "iuf":
        raise InvalidInput(f"{where} should hold numbers, but is {_kind(value)} of something else.")
    return tuple(float(number) for number in numbers)


def names(value: Any, where: str) -> tuple[str, ...]:
    """A list, tuple or array [n] of strings that can stand in paths; at least one.

    Raises:
        InvalidInput: it is empty, holds a name that no file can have, or is something else.
    """
    found = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise InvalidInput(f"{where} should be a list of names, but is {_kind(value)}.")
    if not found:
        raise InvalidInput(f"{where} is empty.")
    # Before they are copied: one long name may be listed a million times.
    unfit = [name for name in found if not fits_a_path(name)]
    if unfit:
        raise InvalidInput(
            f"{where} holds {len(unfit):,} names that no file can have, the first is {unfit[0][:100]!r}."
        )
    return tuple(str(name) for name in found)


def fits_a_path(name: object) -> bool:
    """Whether a file may have this name: text that UTF-8 can write, of a bearable length, without a zero."""
    if not isinstance(name, str) or not name or len(name) > LONGEST_NAME or "\0" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _row(value: Any, where: str) -> NDArray[Any]:
    flat = isinstance(value, np.ndarray) or (
        isinstance(value, list | tuple)
        # Checked before numpy sees it: of nested lists it would make something of any size.
        and all(isinstance(item, int | float | np.number) and not isinstance(item, bool) for item in value)
    )
    if not flat:
        raise InvalidInput(f"{where} should be a list of numbers, but is {_kind(value)}.")
    row = np.asarray(value)
    if row.ndim != 1:
        raise InvalidInput(f"{where} should be a list of numbers, but is an array of shape {row.shape}.")
    return row


def _kind(value: Any) -> str:
    length = f" of {len(value):,}" if isinstance(value, list | tuple | dict | str | bytes) else ""
    return f"a {type(value).__name__}{length}"
