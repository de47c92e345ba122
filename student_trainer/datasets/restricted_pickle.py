"""Read pickles that strangers made, building nothing but plain data.

In: a pickle of any protocol from 0 to 5. Out: containers, numbers, strings, bytes and numpy arrays, or
:class:`~student_trainer.errors.InvalidInput` that names what was asked for beyond that.

Python's own unpickler is not used at all: it would have to be kept from looking up names, and a few bytes
can make it claim gigabytes (a memo index of 2^31, an array of a given shape). Instead the operations are
carried out one by one by :mod:`student_trainer.datasets.pickle_machine`, which knows of no code to call, and
whose operations and memory are bounded.
"""

from pathlib import Path
from typing import Any

import numpy as np

from student_trainer.datasets.pickle_machine import Bounds, Machine
from student_trainer.datasets.pickled_keys import Refused
from student_trainer.errors import InvalidInput

DEFAULT_BOUNDS = Bounds()
_LEAVES = (int, float, str, bytes, type(None), np.generic, np.ndarray)
_CONTAINERS = (list, tuple, dict, set, frozenset)


def read_plain_pickle(path: Path, bounds: Bounds = DEFAULT_BOUNDS) -> Any:
    """The plain data of a pickle.

    Raises:
        InvalidInput: it cannot be read, is damaged or larger than its bounds, or holds anything but plain
            data: the offender is named, and nothing of it was looked up or run.
    """
    try:
        with path.open("rb") as file:
            data = file.read(bounds.file_bytes + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from None
    try:
        return loads(data, bounds)
    except Refused as refusal:
        raise InvalidInput(
            f"{path} is refused: {refusal}. Only containers, numbers, strings and numpy arrays are read from "
            "a pickle, nothing in it was run, and there is no way to override this. Get the file again from "
            "the project that publishes it."
        ) from None


def loads(data: bytes, bounds: Bounds = DEFAULT_BOUNDS) -> Any:
    """The plain data of a pickle in memory.

    Raises:
        Refused: as :func:`read_plain_pickle`, without the file's name.
    """
    if len(data) > bounds.file_bytes:
        raise Refused(f"it has more than {bounds.file_bytes:,} bytes")
    machine = Machine(bounds)
    try:
        value = machine.run(data)
    except Refused:
        raise
    # What damaged bytes lead to: the decoder's ValueError, an empty stack, a list where a dict should be.
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Refused(f"it is cut or damaged ({type(error).__name__}: {str(error)[:200]})") from None
    _check_plain(value)
    return value


def _check_plain(value: Any) -> None:
    """Refuse names and unfinished arrays that were left lying in the data; shared parts are seen once."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, _LEAVES):
            continue
        if not isinstance(found, _CONTAINERS):
            raise Refused(f"it holds {found}, which is no data")
        if id(found) not in seen:
            seen.add(id(found))
            waiting.extend(found.values() if isinstance(found, dict) else found)
