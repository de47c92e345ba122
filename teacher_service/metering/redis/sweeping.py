"""The sweep: gives expired holds back and forgets old idempotency keys, for every key of the ledger.

In: a connection. Out: scripts, many in one exchange and then a pause in which requests come through: a sweep
of twenty thousand keys takes seconds, and nobody waits for it.
"""

import asyncio
from collections.abc import Sequence

from teacher_service.metering.ledger import LedgerUnavailable
from teacher_service.metering.redis import keyspace
from teacher_service.metering.redis.connection import RedisConnection
from teacher_service.metering.redis.keyspace import names_of
from teacher_service.metering.waiting import CALLS_KEPT_MS

AT_ONCE = 32
"""Keys in one exchange: half of what the pipeline takes, so that requests share it."""


async def sweep(connection: RedisConnection) -> None:
    """Sweep every key; one that is damaged stops no other.

    Raises:
        LedgerUnavailable: the store cannot be reached, or, after all others, a key that could not be swept.
    """
    listed = await connection.ask(lambda client: client.zrange(keyspace.ALL_KEYS, 0, -1))
    failed: BaseException | None = None
    for start in range(0, len(listed), AT_ONCE):
        failures = await _sweep_some(connection, [key.decode() for key in listed[start : start + AT_ONCE]])
        failed = failed or next(iter(failures), None)
        if len(failures) == len(listed[start : start + AT_ONCE]):
            break  # it is the store and not a key
    if failed is not None:
        raise failed


async def _sweep_some(connection: RedisConnection, key_ids: Sequence[str]) -> list[LedgerUnavailable]:
    outcomes = await asyncio.gather(*(_sweep_one(connection, key) for key in key_ids), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, LedgerUnavailable):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, LedgerUnavailable)]


async def _sweep_one(connection: RedisConnection, key_id: str) -> None:
    names = names_of(key_id)
    keys = (names.account, names.holds, names.leases, names.held_images, names.calls, names.calls_by_age)
    await connection.run("sweep", keys, (CALLS_KEPT_MS,))
