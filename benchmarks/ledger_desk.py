"""A ledger without a service: many clients of one event loop that reserve and settle.

In: a ledger that is not open yet. Out: how many new durable charges it takes a second.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from benchmarks.ledger_fill import REVISION, image, lived
from teacher_service.access.keys import mint
from teacher_service.metering.archive import Archive
from teacher_service.metering.ledger import NewKey, Reservation


class Desk:
    """An open ledger and a key on it; see :func:`open_desk`."""

    def __init__(self, runner: asyncio.Runner, ledger: Archive, key: NewKey, clients: int) -> None:
        self._runner, self._ledger, self._clients = runner, ledger, clients
        self._key_id = key.key_id
        self._bought = 0

    def charges_per_s(self, charges: int) -> float:
        """One round."""
        numbers = range(self._bought, self._bought + charges)
        self._bought += charges
        started_s = time.perf_counter()
        self._runner.run(self._buy(numbers))
        return charges / (time.perf_counter() - started_s)

    async def _buy(self, numbers: Iterable[int]) -> None:
        waiting = iter(numbers)
        await asyncio.gather(*(self._client(waiting) for _ in range(self._clients)))

    async def _client(self, waiting: Iterable[int]) -> None:
        for number in waiting:
            new = image(number, "benchmark")
            hold = await self._ledger.reserve(Reservation(self._key_id, f"b-{number}", REVISION, (new,)))
            await self._ledger.settle(hold, {new: REVISION})


@contextmanager
def open_desk(runner: asyncio.Runner, ledger: Archive, clients: int, events: int = 0) -> Iterator[Desk]:
    """Open the ledger and give it a key; it is closed in the end, also if it cannot be filled.

    Args:
        runner: the event loop.
        ledger: not opened yet.
        clients: how many buy at the same time.
        events: settled requests that the key has behind it.
    """
    runner.run(ledger.open())
    try:
        if events:
            key, records = lived(events)
            runner.run(ledger.restore(records))
        else:
            _, key = mint("benchmark", 10**12)
            runner.run(ledger.create_key(key))
        yield Desk(runner, ledger, key, clients)
    finally:
        runner.run(ledger.close())
