"""What a serving process does beside its requests: prolong leases, give back, and sweep.

In: the holds it works on. Out: scripts, every so often, on tasks of its own: a sweep may take long, and must
not keep leases from being prolonged. Nothing here is urgent enough to fail a request: what cannot be done now
is done at the next turn, or the lease does it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from teacher_service.logs import log
from teacher_service.metering.ledger import LedgerUnavailable
from teacher_service.metering.redis.connection import RedisConnection
from teacher_service.metering.redis.keyspace import names_of
from teacher_service.metering.redis.live_holds import LiveHolds

SWEEP_EVERY_S = 30.0
LONGEST_PAUSE_S = 1.0
HOLDS_AT_ONCE = 100


class Upkeep:
    """Two tasks that run until they are stopped.

    Args:
        connection: to the ledger.
        live: the holds of this process.
        lease_ms: leases are prolonged at least three times in their length.
        sweep: releases what expired, for every key.
    """

    def __init__(
        self,
        connection: RedisConnection,
        live: LiveHolds,
        lease_ms: int,
        sweep: Callable[[], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._live = live
        self._lease_ms = lease_ms
        self._sweep = sweep
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        pause_s = min(LONGEST_PAUSE_S, self._lease_ms / 4000)
        self._tasks = [
            asyncio.create_task(_again_and_again(self._tend_leases, pause_s)),
            asyncio.create_task(_again_and_again(self._sweep, SWEEP_EVERY_S)),
        ]

    async def stop(self) -> None:
        """End, after a last look at what is to be given back."""
        if not self._tasks:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await _once(self._tend_leases)

    async def _tend_leases(self) -> None:
        now_ms = time.monotonic_ns() // 1_000_000
        await self._prolong(now_ms)  # first: it has a deadline
        for key_id, hold_ids in self._live.abandoned(now_ms).items():
            for start in range(0, len(hold_ids), HOLDS_AT_ONCE):
                part = hold_ids[start : start + HOLDS_AT_ONCE]
                await release(self._connection, key_id, part)
                self._live.given_back(part)

    async def _prolong(self, now_ms: int) -> None:
        await asyncio.gather(
            *(
                self._connection.run("renew", (names_of(key_id).leases,), (self._lease_ms, *hold_ids))
                for key_id, hold_ids in self._live.to_prolong(now_ms).items()
            )
        )


async def _again_and_again(work: Callable[[], Awaitable[None]], pause_s: float) -> None:
    while True:
        await asyncio.sleep(pause_s)
        await _once(work)


async def _once(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except LedgerUnavailable as error:
        log("ledger_upkeep_failed", level="warning", reason=str(error))
    except Exception as error:  # a fault of ours must not end the upkeep
        log("ledger_upkeep_failed", level="error", error=error)


async def release(connection: RedisConnection, key_id: str, hold_ids: Iterable[str]) -> None:
    """Give holds of a key back, but for those that are gone. Raises LedgerUnavailable."""
    names = names_of(key_id)
    keys = (names.account, names.holds, names.leases, names.held_images, names.calls)
    await connection.run("release", keys, hold_ids)
