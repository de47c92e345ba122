"""Two ways to read the ledger's database: at once in the event loop, or in a thread.

In: read-only operations. Out: their results as of the last commit. In the write-ahead log readers are never
blocked by writers, so a look-up of a few rows costs less in the event loop than waking a thread would.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from typing import TypeVar

from teacher_service.metering.sqlite.group_commit import Operation, unavailable

Result = TypeVar("Result")


class Readers:
    """One connection for each way.

    Args:
        connect: opens a read-only connection; its argument is how many milliseconds to wait for a lock.
        patience_ms: that argument for reads in a thread.
    """

    def __init__(self, connect: Callable[[int], sqlite3.Connection], patience_ms: int) -> None:
        self._quick = connect(0)  # the event loop must not wait: on a lock it turns to the thread
        self._patient = connect(patience_ms)
        self._one_thread = threading.Lock()

    def close(self) -> None:
        """Close both."""
        with self._one_thread:
            self._quick.close()
            self._patient.close()

    async def at_once(self, operation: Operation[Result]) -> Result:
        """Run a look-up of a few rows. Raises LedgerUnavailable, and what ``operation`` raises."""
        try:
            return operation(self._quick)
        except sqlite3.Error:
            return await self.in_thread(operation)

    async def in_thread(self, operation: Operation[Result]) -> Result:
        """Run any reads, all of one moment. Raises LedgerUnavailable, and what ``operation`` raises."""
        return await asyncio.to_thread(self._read, operation)

    def _read(self, operation: Operation[Result]) -> Result:
        with self._one_thread:
            try:
                self._patient.execute("BEGIN")
                try:
                    return operation(self._patient)
                finally:
                    self._patient.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise unavailable(error) from None
