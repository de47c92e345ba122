"""One program at a time on a run folder's transfer set.

In: the run folder. Out: a lock that the operating system drops when its holder dies, however it dies.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.run_folder import RunFolder


@contextmanager
def exclusive(run: RunFolder) -> Iterator[None]:
    """Hold the run folder's lock.

    Raises:
        InvalidInput: another program holds it; the message names its process.
        StorageFailed: the lock file cannot be written.
    """
    path = run.root / ".lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            raise InvalidInput(
                f"Another student-trainer (process {holder}) is at work on {run.root}. "
                "Wait for it, or stop it."
            ) from None
        _note_holder(descriptor)
        yield
    finally:
        os.close(descriptor)


def _note_holder(descriptor: int) -> None:
    """Only for the message above, so a full disk must not stop anything here."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        return
