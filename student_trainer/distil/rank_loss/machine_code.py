"""Functions over arrays as machine code, made by numba for this computer's processor; no compiler is needed.

In: a Python function of arrays, numbers and named tuples. Out: one that does the same, without the
interpreter and its lock.
"""

import inspect
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

from student_trainer.distil.rank_loss import rows

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def compiled(function: F) -> F:
    """``function``, compiled at its first call: a second or so, for each type of numbers.

    The code is kept on disk for the next process, if numba finds a folder for that: ``NUMBA_CACHE_DIR``, the
    one beside the source, or the user's own cache. Otherwise every process compiles.
    """
    # numba knows kept code by the function's name. The fingerprint makes that another one when anything
    # around the function changes: numba itself would notice neither another order of a tuple's fields nor,
    # with the same length and date, another source.
    function.__qualname__ += f"_{_fingerprint(function)}"
    try:
        made: F = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        made = njit(**_OPTIONS)(function)
    return made


def _fingerprint(function: Callable[..., Any]) -> str:
    """Of the source that the machine code depends on."""
    sources = (inspect.getfile(function), rows.__file__, __file__)
    return sha256(b"".join(Path(source).read_bytes() for source in sources)).hexdigest()[:12]
