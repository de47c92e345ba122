"""The lock that makes one process the only server of a ledger file.

In: the database's path. Out: a lock that lives as long as its holder, however that ends; so whoever
gets it knows that every hold in the file belongs to a dead process.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from teacher_service.metering.ledger import LedgerUnavailable


class OwnerLock:
    """An exclusive ``flock`` on ``<database>.owner``. The file stays: removing it would race."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".owner")
        self._database = database
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises LedgerUnavailable if another process serves from this file, or no lock can be had."""
        try:
            descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise LedgerUnavailable(
                f"{self._path} cannot be opened ({error}). Serve from a folder that this program may write."
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise LedgerUnavailable(
                f"Another process (pid {owner}) serves from {self._database}. "
                "Stop it first, or give this one another --data-dir."
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise LedgerUnavailable(
                f"{self._path} cannot be locked ({error}). Serve from a file system that has locks."
            ) from None
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # the number only helps whoever is refused
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Let go; does nothing if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
