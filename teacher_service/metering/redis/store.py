"""The ledger on Redis: the one authority of several replicas.

In: calls of the :class:`~teacher_service.metering.ledger.Ledger` protocol, from an event loop. Out: their
results, never before Redis has acknowledged what makes them true. Each operation is one short script, which
checks before it writes; what a killed replica held ends with its lease.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from shared.chain import Link
from teacher_service.metering.archive import ArchivedRecord, Totals
from teacher_service.metering.ledger import (
    AccountDamaged,
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
from teacher_service.metering.redis import archiving, keyspace, preflight
from teacher_service.metering.redis.chain_ends import ChainEnds
from teacher_service.metering.redis.chain_writer import ChainWriter
from teacher_service.metering.redis.clock import Clock, ServerClock
from teacher_service.metering.redis.connection import SERVER_TIME, Client, RedisConnection
from teacher_service.metering.redis.key_admin import KeyAdmin
from teacher_service.metering.redis.keyspace import names_of
from teacher_service.metering.redis.live_holds import MAX_LIFE_MS, LiveHolds
from teacher_service.metering.redis.reserving import Reserver
from teacher_service.metering.redis.sweeping import sweep
from teacher_service.metering.redis.upkeep import Upkeep, release
from teacher_service.metering.refusals import unknown_key
from teacher_service.metering.replays import ReplayHolds
from teacher_service.metering.validation import check_descriptors, check_new_key, check_reservation
from teacher_service.metering.waiting import new_hold_id
from teacher_service.metering.watermark_saver import WatermarkSaver
from teacher_service.metering.watermarks import Watermarks

DEFAULT_LEASE_MS = 15_000


class RedisLedger:
    """Implements ``Ledger`` (and ``Archive``) on one Redis.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        serve: prolong the leases of this process, sweep, and save watermarks, on a task beside the requests.
        lease_ms: how long a hold outlives the process that asked for it; None for 15 seconds.
        watermarks: file that remembers over a restart which records were seen; None for none.
        allow_unsafe: use a Redis that may evict or forget what it acknowledged.
        clock, time_lua: the server's time as this process reckons it, and as the scripts read it.
    """

    def __init__(
        self,
        url: str,
        *,
        serve: bool = True,
        lease_ms: int | None = None,
        watermarks: Path | None = None,
        allow_unsafe: bool = False,
        clock: Clock | None = None,
        time_lua: str = SERVER_TIME,
    ) -> None:
        self._clock = clock or ServerClock()
        self._watermarks = Watermarks(watermarks)
        self._saver = WatermarkSaver(self._watermarks)
        self._connection = RedisConnection(
            url, self._watermarks, allow_unsafe=allow_unsafe, time_lua=time_lua
        )
        self._ends = ChainEnds(self._connection, self._watermarks, self._clock)
        self._chains = ChainWriter(self._connection, self._ends, self._clock)
        lease_ms = DEFAULT_LEASE_MS if lease_ms is None else lease_ms
        self._reserver = Reserver(self._connection, self._ends, self._watermarks, lease_ms)
        self._key_admin = KeyAdmin(self._connection, self._ends, self._clock)
        self._live = LiveHolds(lease_ms)
        self._replays = ReplayHolds()
        self._giving_back: set[asyncio.Task[None]] = set()
        self._probe = WriteProbe(self._write_probe, self._clock)
        self._upkeep = Upkeep(self._connection, self._live, lease_ms, self.sweep) if serve else None

    async def open(self) -> None:
        """Connect, refuse an unsafe server, and one that is older than what this service has seen.

        Raises:
            LedgerUnavailable: says which of these, and what to do.
        """
        self._connection.open()
        epoch, layout = await self._connection.ask(_identity)
        if layout != keyspace.LAYOUT:
            raise LedgerUnavailable(
                f"This Redis holds a ledger of layout {layout}, this program knows {keyspace.LAYOUT}. Use "
                "the version of the program that wrote it: its export can be imported into a new ledger."
            )
        await asyncio.to_thread(self._watermarks.load, epoch)
        await self._connection.verify_anew()
        asked_s = time.monotonic()
        (now_ms,) = await self._connection.run("time", (), ())
        self._clock.learn(int(now_ms), time.monotonic() - asked_s)
        if self._upkeep is not None:
            self._upkeep.start()
            self._saver.start()

    async def close(self) -> None:
        """Finish what is queued, give back what nobody waits for, save what was seen, and disconnect."""
        await self._chains.close()
        await asyncio.gather(*self._giving_back)
        if self._upkeep is not None:
            await self._upkeep.stop()
        await self._saver.stop()
        await self._connection.close()
        self._replays.clear()

    async def ping(self) -> None:
        """Raise LedgerUnavailable unless a durable write succeeded within the last second, or does now."""
        await self._probe.check()

    async def _write_probe(self, now_ms: int) -> None:
        await self._connection.ask(lambda client: client.set(keyspace.PROBE, now_ms))

    async def create_key(self, key: NewKey) -> KeyRecord:
        """Open a key. Raises KeyExists, ValueError, LedgerUnavailable."""
        check_new_key(key)
        await self._key_admin.open_key(key)
        return await self._existing(key.key_id)

    async def key(self, key_id: str) -> KeyRecord | None:
        """The key's account. Raises LedgerUnavailable, also if the store has forgotten the key."""
        mark = self._watermarks.of(key_id)  # before asking: while the answer is on its way, more may be seen
        account = await self._connection.read("HGETALL", names_of(key_id).account)
        seq, head = int(account.get(b"seq", -1)), account.get(b"head", b"").decode()
        if seq < mark.seq or (seq == mark.seq and head != mark.hash):
            raise self._connection.refuse_rolled_back(key_id)
        try:
            return keyspace.key_record(key_id, account, self._clock()) if account else None
        except (KeyError, ValueError) as error:
            raise AccountDamaged(
                f"The account of key {key_id} in Redis is damaged ({error!r}): nothing is served to it. "
                "Restore the store, or import an export into an empty one."
            ) from None

    async def keys(self) -> list[KeyRecord]:
        """All keys, oldest first."""
        listed = await self._connection.ask(lambda client: client.zrange(keyspace.ALL_KEYS, 0, -1))
        found = [await self.key(key_id.decode()) for key_id in listed]
        return [record for record in found if record is not None]

    async def grant(self, key_id: str, amount: int, *, expected_budget: int | None = None) -> KeyRecord:
        """Raise a budget. Raises UnknownKey, KeyRevoked, BudgetChanged, ValueError, LedgerUnavailable."""
        await self._key_admin.grant(key_id, amount, expected_budget)
        return await self._existing(key_id)

    async def revoke(self, key_id: str) -> KeyRecord:
        """Revoke a key and drop its holds. Raises UnknownKey, LedgerUnavailable."""
        await self._key_admin.revoke(key_id)
        return await self._existing(key_id)

    async def reserve(self, reservation: Reservation) -> Hold:
        """Hold what the request must pay; see the protocol."""
        check_reservation(reservation)
        hold_id = new_hold_id()
        try:
            hold, replay = await self._reserver.reserve(reservation, hold_id)
        except LedgerUnavailable:
            self._live.abandon(_unseen_hold(hold_id, reservation), _monotonic_ms())
            raise
        except asyncio.CancelledError:  # nobody else can give back what was asked for
            self._release_soon(_unseen_hold(hold_id, reservation))
            raise
        if replay:
            if self._upkeep is not None:  # it needs as long as those whose leases are prolonged
                hold = replace(hold, expires_at_ms=self._clock() + MAX_LIFE_MS)
            self._replays.keep(hold, self._clock())
        else:
            self._live.begin(hold, _monotonic_ms())
        return hold

    async def settle(self, hold: Hold, descriptors: Mapping[str, str]) -> Settlement:
        """Charge a hold; see the protocol. Raises ValueError if a descriptor digest is missing or none."""
        check_descriptors(hold.reservation, descriptors)
        replay = self._replays.take(hold)
        try:
            settlement = await self._chains.settle(hold, descriptors, replay=replay)
        except LedgerUnavailable:
            if replay:
                self._replays.put_back(hold)
            raise
        self._live.end(hold)
        return settlement

    async def release(self, hold: Hold) -> None:
        """Give a hold back; does nothing if it is gone already. Raises LedgerUnavailable: then later."""
        if self._replays.take(hold):
            return
        try:
            await release(self._connection, hold.reservation.key_id, (hold.hold_id,))
        except (LedgerUnavailable, asyncio.CancelledError):
            self._live.abandon(hold, _monotonic_ms())
            raise
        self._live.end(hold)

    async def links(self, key_id: str, *, after: int = -1, limit: int = 1000) -> Sequence[Link]:
        """Records with ``seq > after``, oldest first. Raises UnknownKey."""
        events, first = names_of(key_id).events, max(0, after + 1)
        entries = await self._connection.ask(
            lambda client: client.xrange(events, min=f"1-{first}", count=max(1, limit))
        )
        if not entries and not await self._connection.ask(lambda client: client.exists(events)):
            raise unknown_key(key_id)
        return [Link(orjson.loads(entry[b"record"]), entry[b"hash"].decode()) for _, entry in entries]

    async def head(self, key_id: str) -> Head:
        """The end of the key's chain. Raises UnknownKey."""
        account = await self._ends.look(key_id)
        return Head(key_id, account.end.seq, account.end.hash, account.end.used, account.budget)

    async def usage_by_day(self, key_id: str) -> Sequence[DayUsage]:
        """What the key did, oldest day first. Raises UnknownKey."""
        await self._existing(key_id)
        return archiving.usage_of(
            await self._connection.ask(lambda client: client.hgetall(names_of(key_id).days))
        )

    async def totals(self, key_id: str) -> Totals:
        """What the store enforces for a key, in one moment. Raises UnknownKey."""
        return await self._connection.ask(lambda client: archiving.totals(client, key_id, self._clock()))

    async def bind(self, public_key: str, *, anew: bool = False) -> str:
        """The public key whose receipts this ledger's clients hold; see ``Archive``."""

        async def bound(client: Client) -> str:
            write = client.hset if anew else client.hsetnx
            await write(keyspace.STORE, "public_key", public_key)
            known: bytes = await client.hget(keyspace.STORE, "public_key")
            return known.decode("ascii")

        return await self._connection.ask(bound)

    async def health(self) -> list[str]:
        """What is wrong with the server's settings, persistence and memory now."""
        return await self._connection.talk(preflight.faults_while_serving)

    async def restore(self, records: Iterable[ArchivedRecord]) -> None:
        """Fill an empty ledger, all or nothing. Raises LedgerNotEmpty, LedgerUnavailable."""
        readable = archiving.Readable(records)
        try:
            await self._connection.ask(lambda client: archiving.restore(client, readable))
        except LedgerUnavailable:
            if readable.error is not None:  # the file failed, and not the server
                raise readable.error from None
            raise

    async def sweep(self) -> None:
        """Release expired holds and forget old idempotency keys of every key."""
        await sweep(self._connection)

    def _release_soon(self, hold: Hold) -> None:
        """Behind the request for the hold, since commands are carried out in their order."""

        async def give_back() -> None:
            with contextlib.suppress(LedgerUnavailable):  # then at the next turn of the upkeep
                await self.release(hold)

        task = asyncio.create_task(give_back())
        self._giving_back.add(task)
        task.add_done_callback(self._giving_back.discard)

    async def _existing(self, key_id: str) -> KeyRecord:
        record = await self.key(key_id)
        if record is None:
            raise unknown_key(key_id)
        return record


async def _identity(client: Client) -> tuple[str, str]:
    """The name of this store and the layout of what is in it, both given to it once.

    They are written only where they are missing: a server that takes no writes can still be read.
    """
    epoch, layout = await client.hmget(keyspace.STORE, "epoch", "layout")
    if epoch is None or layout is None:
        await client.hsetnx(keyspace.STORE, "epoch", secrets.token_hex(16))
        await client.hsetnx(keyspace.STORE, "layout", keyspace.LAYOUT)
        epoch, layout = await client.hmget(keyspace.STORE, "epoch", "layout")
    return epoch.decode("ascii"), layout.decode("ascii")


def _unseen_hold(hold_id: str, reservation: Reservation) -> Hold:
    """A hold that was asked for and not answered: the store may have it all the same."""
    return Hold(hold_id, reservation, frozenset(), 0)


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
