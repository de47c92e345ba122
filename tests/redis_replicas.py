"""Replicas of a ledger on one Redis, in one event loop, and what requests do with them.

In: a URL. Out: open ledgers; images, revisions and descriptors go by names.
"""

import asyncio
import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from shared.chain import Billing, Window
from teacher_service.access.keys import mint
from teacher_service.metering.ledger import Hold, KeyRecord, Ledger, Reservation, Settlement
from teacher_service.metering.redis.store import RedisLedger

PATIENCE_S = 10.0
_numbers = itertools.count()


def digest(text: str) -> str:
    """A SHA-256 that goes by a name."""
    return hashlib.sha256(text.encode()).hexdigest()


@asynccontextmanager
async def replicas(url: str, number: int = 1, **options: Any) -> AsyncIterator[list[RedisLedger]]:
    """Open ledgers; closed in the end."""
    ledgers = [RedisLedger(url, **options) for _ in range(number)]
    try:
        for ledger in ledgers:
            await ledger.open()
        yield ledgers
    finally:
        for ledger in ledgers:
            await ledger.close()


@asynccontextmanager
async def replica(url: str, **options: Any) -> AsyncIterator[RedisLedger]:
    """One open ledger."""
    async with replicas(url, **options) as (ledger,):
        yield ledger


async def new_key(
    ledger: Ledger, budget: int = 10, billing: Billing = "distinct", window: Window = "total"
) -> str:
    """Its id."""
    _, new = mint("a student", budget, billing=billing, window=window)
    await ledger.create_key(new)
    return new.key_id


def reservation(key_id: str, *images: str, revision: str = "teacher", idem: str | None = None) -> Reservation:
    """A request for images."""
    return Reservation(
        key_id=key_id,
        request_id=f"request-{next(_numbers)}",
        teacher_revision=digest(revision),
        images=tuple(digest(image) for image in images),
        idempotency_key=idem,
        body_digest=digest(" ".join(images)),
    )


async def reserve(ledger: Ledger, key_id: str, *images: str, **options: Any) -> Hold:
    """Hold what must be paid."""
    return await ledger.reserve(reservation(key_id, *images, **options))


async def settle(ledger: Ledger, hold: Hold) -> Settlement:
    """Charge it."""
    descriptors = {image: digest(image + "descriptor") for image in hold.reservation.images}
    return await ledger.settle(hold, descriptors)


async def buy(ledger: Ledger, key_id: str, *images: str, **options: Any) -> Settlement:
    """Reserve and settle."""
    return await settle(ledger, await reserve(ledger, key_id, *images, **options))


async def account(ledger: Ledger, key_id: str) -> KeyRecord:
    """The key as it stands."""
    record = await ledger.key(key_id)
    assert record is not None
    return record


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again; what must happen soon happens within :data:`PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.01)
