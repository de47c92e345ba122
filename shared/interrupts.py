"""Ctrl-C while a program loads: it ends there and then, and says nothing.

In: nothing. Out: the exit code of an interrupted command, in place of a traceback through whatever was being
loaded, and of libraries that pass over the interrupt or take it for a failed import.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit code of every command that was interrupted."""


@contextmanager
def ending_at_once() -> Iterator[None]:
    """SIGINT ends the process, without any clearing up: nothing has begun that would need it.

    Afterwards it raises KeyboardInterrupt again. Where it is ignored, as in the background of a shell without
    job control, it stays so.
    """
    raises = signal.getsignal(signal.SIGINT)
    if raises is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, raises)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
