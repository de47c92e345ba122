"""Many clients at a small budget: exactly what whole requests allow is spent, at no moment more."""

import asyncio
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest
from faults.conftest import Tallying
from faults.crowd import Crowd
from faults.effort import Effort
from faults.stores import Estate
from reverse_proxy import ReverseProxy

from teacher_service.metering.ledger import KeyRecord
from teacher_service.metering.stores import open_ledger

CLIENTS, BATCH, BUDGET = 64, 7, 100
AFFORDABLE = BUDGET // BATCH * BATCH


async def watch(url: str, key_id: str, seen: list[KeyRecord], begun: Event, end: Event) -> None:
    """Read the account again and again while the clients spend."""
    ledger = open_ledger(url, serve=False)
    await ledger.open()
    try:
        while not end.is_set():
            record = await ledger.key(key_id)
            assert record is not None
            seen.append(record)
            begun.set()
            await asyncio.sleep(0.002)
    finally:
        await ledger.close()


@contextmanager
def watched(url: str, key_id: str) -> Iterator[list[KeyRecord]]:
    """Watch from a thread, which a loop that is busy with 64 clients does not starve; yields what is seen."""
    seen: list[KeyRecord] = []
    begun, end = Event(), Event()
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(lambda: asyncio.run(watch(url, key_id, seen, begun, end)))
        try:
            assert begun.wait(30)
            yield seen
        finally:
            end.set()
        watching.result(30)


async def rush(crowd: Crowd) -> list[bool]:
    """All clients at once, each with images of its own; who is refused does not come back."""
    crowd.stock(CLIENTS * BATCH)
    images = list(crowd.images)
    async with crowd.client(CLIENTS) as http:
        bought = await asyncio.gather(
            *(
                crowd.buy(http, images[k * BATCH :][:BATCH], random.Random(crowd.chance.random()))
                for k in range(CLIENTS)
            )
        )
        # What is left can still be spent, by a request that fits; then nothing can.
        left = [image for image in images if image not in crowd.delivered]
        rest, one_more = left[: BUDGET - AFFORDABLE], left[BUDGET - AFFORDABLE]
        assert await crowd.buy(http, rest, crowd.chance)
        assert not await crowd.buy(http, [one_more], crowd.chance)
    return bought


@pytest.mark.slow
def test_64_clients_on_a_budget_that_batches_of_7_do_not_divide_spend_98_of_100_and_never_more(
    store: str, effort: Effort, found: Callable[..., Estate], tallying: Tallying
) -> None:
    """Invariant 1 at every sampled moment; on Redis through three replicas behind a proxy."""
    chance = effort.chance(f"limit {store}")
    estate = found(store, replicas={"sqlite": 1, "redis": 3}[store])
    for replica in estate.replicas:
        replica.live()
    with ReverseProxy(estate.addresses) as proxy, tallying("64 clients, budget 100", store) as tally:
        for _ in range(effort.crowds):
            crowd = estate.crowd(BUDGET, tally, chance)
            crowd.addresses = [proxy.address]
            with watched(estate.url, crowd.key_id) as seen:
                bought = asyncio.run(rush(crowd))
            assert sum(bought) * BATCH == AFFORDABLE, f"{sum(bought)} batches of {BATCH} were sold"
            tally.faults += bought.count(False)
            tally.overspent += max(0, max(record.used + record.held for record in seen) - BUDGET)
            assert len(seen) > 5, "the account was hardly looked at"
            crowd.images = {image: crowd.images[image] for image in crowd.delivered}
            estate.reckon_with(crowd)
        assert len({exchange.backend for exchange in proxy.exchanges}) == len(estate.replicas)
        for replica in estate.replicas:
            replica.end()
