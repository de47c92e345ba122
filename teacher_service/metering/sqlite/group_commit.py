"""One writer thread that commits the operations of many requests together.

In: operations, as functions of a database connection, from any event loop. Out: their results, only
after the commit that made them durable. A commit costs one fsync however many operations share it.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from teacher_service.metering.ledger import NOT_OPEN, LedgerUnavailable

Result = TypeVar("Result")
Operation: TypeAlias = Callable[[sqlite3.Connection], Result]

MAX_GROUP = 256
"""Operations in one transaction, at most: bounds how long the first of them waits."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Job:
    operation: Operation[Any]
    future: "asyncio.Future[Any]"
    if_abandoned: Callable[[Any], None] | None
    result: Any = None
    error: Exception | None = None


class GroupCommitter:
    """Owns the writing connection and the thread that uses it.

    Args:
        connect: opens the connection, in autocommit mode.
        upkeep: run in a transaction of its own every ``upkeep_s`` seconds; None for none.
        upkeep_s: seconds between two runs of ``upkeep``.
        max_group: operations in one transaction; 1 gives each a commit of its own.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        upkeep: Operation[None] | None = None,
        upkeep_s: float = 30.0,
        max_group: int = MAX_GROUP,
    ) -> None:
        self._connect = connect
        self._max_group = max_group
        self._upkeep = upkeep
        self._upkeep_s = upkeep_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._accepting = False
        self._entrance = threading.Lock()

    def start(self, first: Operation[None] | None = None) -> None:
        """Open the connection, run ``first`` in a transaction, and start the thread.

        Raises:
            sqlite3.Error: the database cannot be opened or written.
        """
        self._db = self._connect()
        if first is not None:
            try:
                self._transact(first)
            except sqlite3.Error:
                self._db.close()
                raise
        self._accepting = True
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, end the thread and close the connection. Blocks."""
        with self._entrance:
            if not self._accepting:
                return
            self._accepting = False
            self._jobs.put(None)
        self._thread.join()
        self._db.close()

    def submit(
        self, operation: Operation[Result], if_abandoned: Callable[[Result], None] | None = None
    ) -> "asyncio.Future[Result]":
        """Queue ``operation``; the future resolves in the running loop, after the commit.

        Args:
            operation: reads and writes; an exception rolls back its own changes alone.
            if_abandoned: called in the loop with the result, if the caller was cancelled meanwhile.

        Raises:
            LedgerUnavailable: the ledger was closed.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        with self._entrance:  # else a job could queue up behind the end, and its future never resolve
            if not self._accepting:
                raise LedgerUnavailable(NOT_OPEN)
            self._jobs.put(_Job(operation, future, if_abandoned))
        return future

    def _run(self) -> None:
        upkeep_due = time.monotonic() + self._upkeep_s
        stopping = False
        while not stopping:
            group, stopping = self._next_group(upkeep_due)
            if group:
                self._commit(group)
                _hand_over(group)
            if self._upkeep is not None and time.monotonic() >= upkeep_due:
                self._run_upkeep(self._upkeep)
                upkeep_due = time.monotonic() + self._upkeep_s

    def _next_group(self, upkeep_due: float) -> tuple[list[_Job], bool]:
        """Wait for one job, then take along whatever else has queued up; True once told to stop."""
        group: list[_Job] = []
        try:
            job = self._jobs.get(timeout=max(0.0, upkeep_due - time.monotonic()) if self._upkeep else None)
            while job is not None:
                group.append(job)
                if len(group) == self._max_group:
                    return group, False
                job = self._jobs.get_nowait()
        except queue.Empty:
            return group, False
        return group, True

    def _commit(self, group: list[_Job]) -> None:
        """Run a group in one transaction. If the store fails, nothing of the group remains."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for job in group:
                _attempt(self._db, job)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            _log.error("ledger write failed", extra={"reason": str(error), "operations": len(group)})
            self._roll_back()
            for job in group:
                job.result, job.error = None, unavailable(error)

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:  # some failures have rolled back already
                self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            _log.error("ledger rollback failed", extra={"reason": str(error)})

    def _transact(self, operation: Operation[None]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            operation(self._db)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back()
            raise

    def _run_upkeep(self, upkeep: Operation[None]) -> None:
        try:
            self._transact(upkeep)
        except sqlite3.Error as error:  # not urgent: the next run, or the next reserve, catches up
            _log.warning("ledger upkeep failed", extra={"reason": str(error)})


def unavailable(error: sqlite3.Error) -> LedgerUnavailable:
    """What a caller sees of a store that failed."""
    return LedgerUnavailable(
        f"The ledger cannot be written or read ({error}): nothing was charged, and nothing is delivered. "
        "Check the disk that holds it; the request may be repeated."
    )


def _attempt(db: sqlite3.Connection, job: _Job) -> None:
    """Run one operation in a savepoint, so that a refusal leaves the rest of the group untouched."""
    db.execute("SAVEPOINT operation")
    try:
        job.result = job.operation(db)
    except sqlite3.IntegrityError as error:  # a constraint stopped a mistake of ours: refuse this one alone
        job.error = unavailable(error)
    except sqlite3.Error:
        raise  # the store itself failed: the whole group must go
    except Exception as error:
        job.error = error
    if job.error is not None:
        db.execute("ROLLBACK TO operation")
    db.execute("RELEASE operation")


def _hand_over(group: list[_Job]) -> None:
    """Wake each event loop once for all of its jobs: a wake-up costs more than a future."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in group:
        by_loop.setdefault(job.future.get_loop(), []).append(job)
    for loop, jobs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, jobs)
        except RuntimeError:  # the loop was closed: nobody waits any more
            _log.warning("ledger results abandoned", extra={"operations": len(jobs)})


def _resolve(jobs: list[_Job]) -> None:
    abandoned = [job for job in jobs if job.future.cancelled() and job.error is None]
    for job in jobs:
        if job.future.cancelled():
            continue
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)
    for job in abandoned:  # last: nobody's result may depend on how this goes
        if job.if_abandoned is not None:
            job.if_abandoned(job.result)
