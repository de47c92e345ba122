"""The ledger on SQLite: the default store, exact and durable on one machine.

In: calls of the :class:`~teacher_service.metering.ledger.Ledger` protocol, from an event loop. Out: their
results, never before the commit that makes them true. Writes queue for one thread that commits many of
them together; short reads run at once on a connection of their own, which writers never block.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from shared.chain import Link
from teacher_service.metering.archive import ArchivedRecord, Totals
from teacher_service.metering.ledger import (
    NOT_OPEN,
    DayUsage,
    Head,
    Hold,
    KeyRecord,
    LedgerUnavailable,
    NewKey,
    Reservation,
    Settlement,
)
from teacher_service.metering.probe import WriteProbe
from teacher_service.metering.replays import ReplayHolds
from teacher_service.metering.sqlite import database
from teacher_service.metering.sqlite.group_commit import MAX_GROUP, GroupCommitter, Operation, unavailable
from teacher_service.metering.sqlite.lately import SettledLately
from teacher_service.metering.sqlite.owner import OwnerLock
from teacher_service.metering.sqlite.readers import Readers
from teacher_service.metering.sqlite.rollback_guard import check_not_rolled_back
from teacher_service.metering.sqlite.transactions import (
    accounts,
    archiving,
    holds,
    idempotency,
    reserve,
    settle,
    usage,
)
from teacher_service.metering.validation import check_descriptors, check_new_key, check_reservation
from teacher_service.metering.watermark_saver import WatermarkSaver
from teacher_service.metering.watermarks import Watermarks

Result = TypeVar("Result")

DEFAULT_LEASE_MS = 600_000


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class SqliteLedger:
    """Implements ``Ledger`` (and ``Archive``) on one SQLite file.

    Args:
        path: the database; created with its folder if missing.
        lease_ms: a hold that is neither settled nor released for so long is given back; None for 10 minutes.
        clock_ms: wall clock, in milliseconds since 1970.
        serve: take the owner lock and drop the holds of a dead owner. The command line opens with False,
            beside a running server.
        busy_timeout_ms: how long a write waits for another process before it fails.
        watermarks: file that remembers which records were seen, so that an older copy of the database is
            refused; None for none.
        max_group: how many writes may share a commit.
    """

    def __init__(
        self,
        path: Path,
        *,
        lease_ms: int | None = None,
        clock_ms: Callable[[], int] = wall_clock_ms,
        serve: bool = True,
        busy_timeout_ms: int = 5000,
        watermarks: Path | None = None,
        max_group: int = MAX_GROUP,
    ) -> None:
        self._path = path
        self._lease_ms = DEFAULT_LEASE_MS if lease_ms is None else lease_ms
        self._clock_ms = clock_ms
        self._serve = serve
        self._busy_timeout_ms = busy_timeout_ms
        self._max_group = max_group
        self._watermarks = Watermarks(watermarks)
        self._saver = WatermarkSaver(self._watermarks)
        self._owner = OwnerLock(path)
        self._writer: GroupCommitter | None = None
        self._readers: Readers | None = None
        self._probe = WriteProbe(self._write_probe, clock_ms)
        self._replays = ReplayHolds()
        self._lately = SettledLately()

    async def open(self) -> None:
        """Create what is missing, refuse a file that is older than what was seen of it, and connect.

        Raises:
            StoreRolledBack: it lacks records that were seen, or is not the file that was there before.
            LedgerUnavailable: the file cannot be used, or another process serves from it.
        """
        await asyncio.to_thread(self._open)
        if self._serve:
            self._saver.start()

    def _open(self) -> None:
        if self._writer is not None:
            return
        if not self._path.exists():
            self._watermarks.check_no_store_known()
        database.prepare(self._path, self._busy_timeout_ms)
        if self._serve:
            self._owner.acquire()
        try:
            self._connect()
        except BaseException:
            self._owner.release()
            raise

    def _connect(self) -> None:
        writer = GroupCommitter(
            lambda: database.connect(self._path, busy_timeout_ms=self._busy_timeout_ms),
            self._sweep if self._serve else None,
            max_group=self._max_group,
        )
        try:
            self._check_not_rolled_back()  # before anything is changed
            writer.start(first=holds.drop_all if self._serve else None)
            self._readers = Readers(
                lambda wait_ms: database.connect(self._path, busy_timeout_ms=wait_ms, read_only=True),
                self._busy_timeout_ms,
            )
        except sqlite3.Error as error:
            writer.stop()
            raise unavailable(error) from None
        self._writer = writer

    def _check_not_rolled_back(self) -> None:
        db = database.connect(self._path, busy_timeout_ms=self._busy_timeout_ms, read_only=True)
        try:
            check_not_rolled_back(db, self._watermarks)
        finally:
            db.close()

    async def close(self) -> None:
        """Finish what is queued, disconnect, save what was seen, and let another process serve."""
        await asyncio.to_thread(self._stop_writing)
        await self._saver.stop()
        self._owner.release()

    def _stop_writing(self) -> None:
        if self._writer is None or self._readers is None:
            return
        self._writer.stop()
        self._readers.close()
        self._writer = self._readers = None
        self._replays.clear()

    async def ping(self) -> None:
        """Raise LedgerUnavailable unless a durable write succeeded within the last second, or does now."""
        await self._probe.check()

    async def _write_probe(self, now_ms: int) -> None:
        await self._write(lambda db: db.execute("UPDATE probe SET at_ms = ?", (now_ms,)).rowcount)

    async def create_key(self, key: NewKey) -> KeyRecord:
        """Open a key. Raises KeyExists, ValueError, LedgerUnavailable."""
        check_new_key(key)
        return await self._change(key.key_id, lambda db: accounts.create_key(db, key, self._clock_ms()))

    async def key(self, key_id: str) -> KeyRecord | None:
        """The key's account as of the last commit."""
        return await self._read.at_once(lambda db: accounts.key_record(db, key_id, self._clock_ms()))

    async def keys(self) -> list[KeyRecord]:
        """All keys, oldest first."""
        return await self._read.in_thread(lambda db: accounts.key_records(db, self._clock_ms()))

    async def grant(self, key_id: str, amount: int, *, expected_budget: int | None = None) -> KeyRecord:
        """Raise a budget; see the protocol. Raises ValueError if ``amount`` is no possible grant."""
        return await self._change(
            key_id, lambda db: accounts.grant(db, key_id, amount, self._clock_ms(), expected_budget)
        )

    async def revoke(self, key_id: str) -> KeyRecord:
        """Revoke a key and drop its holds. Raises UnknownKey, LedgerUnavailable."""
        return await self._change(key_id, lambda db: accounts.revoke(db, key_id, self._clock_ms()))

    async def _change(self, key_id: str, change: Operation[KeyRecord]) -> KeyRecord:
        record, end = await self._write(lambda db: (change(db), accounts.head(db, key_id)))
        self._watermarks.saw(key_id, end.seq, end.hash)
        return record

    async def reserve(self, reservation: Reservation) -> Hold:
        """Hold what the request must pay; see the protocol."""
        check_reservation(reservation)
        if self._lately.has_all(reservation):
            now_ms = self._clock_ms()
            hold = await self._read.at_once(
                lambda db: reserve.replay(db, reservation, now_ms, self._lease_ms)
            )
            if hold is not None:
                self._replays.keep(hold, now_ms)
                return hold
        return await self._write(
            lambda db: reserve.reserve(db, reservation, self._clock_ms(), self._lease_ms),
            if_abandoned=self._release_soon,
        )

    async def settle(self, hold: Hold, descriptors: Mapping[str, str]) -> Settlement:
        """Charge a hold; see the protocol. Raises ValueError if a descriptor digest is missing or none."""
        check_descriptors(hold.reservation, descriptors)
        replay = self._replays.take(hold)
        try:
            settlement = await self._write(
                lambda db: settle.settle(db, hold, descriptors, self._clock_ms(), recorded=not replay)
            )
        except LedgerUnavailable:
            if replay:
                self._replays.put_back(hold)
            raise
        self._watermarks.saw(hold.reservation.key_id, settlement.seq, settlement.link.hash)
        self._lately.add(hold.reservation)
        return settlement

    async def release(self, hold: Hold) -> None:
        """Give a hold back; does nothing if it is gone already."""
        if not self._replays.take(hold):
            await self._write(lambda db: holds.release(db, hold))

    async def links(self, key_id: str, *, after: int = -1, limit: int = 1000) -> Sequence[Link]:
        """Records with ``seq > after``, oldest first. Raises UnknownKey."""
        return await self._read.in_thread(lambda db: accounts.links(db, key_id, after, limit))

    async def head(self, key_id: str) -> Head:
        """The end of the key's chain. Raises UnknownKey."""
        end = await self._read.at_once(lambda db: accounts.head(db, key_id))
        self._watermarks.saw(key_id, end.seq, end.hash)
        return end

    async def usage_by_day(self, key_id: str) -> Sequence[DayUsage]:
        """What the key did, oldest day first. Raises UnknownKey."""
        return await self._read.in_thread(
            lambda db: usage.usage_by_day(db, accounts.account(db, key_id).key_no)
        )

    async def totals(self, key_id: str) -> Totals:
        """What the tables enforce for a key, in one moment. Raises UnknownKey."""
        return await self._read.in_thread(lambda db: archiving.totals(db, key_id, self._clock_ms()))

    async def bind(self, public_key: str, *, anew: bool = False) -> str:
        """The public key whose receipts this ledger's clients hold; see ``Archive``."""
        return await self._write(lambda db: archiving.bind(db, public_key, anew=anew))

    async def health(self) -> list[str]:
        """Damaged pages, broken constraints and rows that hang on nothing."""
        return await self._read.in_thread(database.faults)

    async def restore(self, records: Iterable[ArchivedRecord]) -> None:
        """Fill an empty ledger, all or nothing. Raises LedgerNotEmpty, LedgerUnavailable."""
        await self._write(lambda db: archiving.restore(db, records))

    async def sweep(self) -> None:
        """Release expired holds and forget old idempotency keys; a server does so every half minute."""
        await self._write(self._sweep)

    def _sweep(self, db: sqlite3.Connection) -> None:
        now_ms = self._clock_ms()
        holds.drop_all_expired(db, now_ms)
        idempotency.prune(db, now_ms)

    def _release_soon(self, hold: Hold) -> None:
        """The request was cancelled while it waited for its hold: nobody else can give it back."""
        with contextlib.suppress(LedgerUnavailable):  # if it fails, the lease or the next owner ends it
            releasing = self._write(lambda db: holds.release(db, hold))
            releasing.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _write(
        self, operation: Operation[Result], if_abandoned: Callable[[Result], None] | None = None
    ) -> "asyncio.Future[Result]":
        if self._writer is None:
            raise LedgerUnavailable(NOT_OPEN)
        return self._writer.submit(operation, if_abandoned)

    @property
    def _read(self) -> Readers:
        if self._readers is None:
            raise LedgerUnavailable(NOT_OPEN)
        return self._readers
