"""What a serving process does beside its requests: prolong leases, give back, sweep, save what it has seen.

In: the holds it works on. Out: scripts, every so often, on a task of its own. Nothing here is urgent enough
to fail a request: what cannot be done now is done at the next turn, or the lease does it.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable

from teacher_service.logs import log
from teacher_service.metering.ledger import Hold, LedgerUnavailable
from teacher_service.metering.redis.connection import RedisConnection
from teacher_service.metering.redis.keyspace import names_of
from teacher_service.metering.redis.live_holds import LiveHolds
from teacher_service.metering.watermarks import Watermarks

SWEEP_EVERY_S = 30.0
LONGEST_PAUSE_S = 1.0


class Upkeep:
    """A task that runs until it is stopped.

    Args:
        connection: to the ledger.
        live: the holds of this process.
        watermarks: saved at every turn.
        lease_ms: leases are prolonged at least three times in their length.
        sweep: releases what expired, for every key.
    """

    def __init__(
        self,
        connection: RedisConnection,
        live: LiveHolds,
        watermarks: Watermarks,
        lease_ms: int,
        sweep: Callable[[], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._live = live
        self._watermarks = watermarks
        self._lease_ms = lease_ms
        self._sweep = sweep
        self._sweep_due_s = time.monotonic() + SWEEP_EVERY_S
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, after a last look at what is to be given back."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        await self._turn()

    async def _run(self) -> None:
        pause_s = min(LONGEST_PAUSE_S, self._lease_ms / 4000)
        while True:
            await asyncio.sleep(pause_s)
            await self._turn()

    async def _turn(self) -> None:
        try:
            await self._give_back()
            await self._prolong()
            if time.monotonic() >= self._sweep_due_s:
                self._sweep_due_s = time.monotonic() + SWEEP_EVERY_S
                await self._sweep()
        except LedgerUnavailable as error:
            log("ledger_upkeep_failed", level="warning", reason=str(error))
        try:
            await asyncio.to_thread(self._watermarks.save)
        except (OSError, sqlite3.Error) as error:
            log("watermarks_not_saved", level="warning", reason=str(error))

    async def _give_back(self) -> None:
        for hold in self._live.abandoned():
            await release(self._connection, hold)
            self._live.end(hold)

    async def _prolong(self) -> None:
        now_ms = time.monotonic_ns() // 1_000_000
        for key_id, hold_ids in self._live.to_prolong(now_ms, self._lease_ms // 3).items():
            await self._connection.run("renew", (names_of(key_id).leases,), (self._lease_ms, *hold_ids))


async def release(connection: RedisConnection, hold: Hold) -> None:
    """Give a hold back; does nothing if it is gone. Raises LedgerUnavailable."""
    names = names_of(hold.reservation.key_id)
    keys = (names.account, names.holds, names.leases, names.held_images, names.calls)
    await connection.run("release", keys, (hold.hold_id,))
