"""The ledger beside a bare echo, beside itself without group commit, and a million events later.

In: nothing, or how many events a full ledger has. Out: tables on standard output. Sides of a comparison run
in turns, after a warm-up. Clients share one key, and each charge is for an image that is new to it.

    python -m benchmarks.ledger
"""

import asyncio
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Self
from unittest import mock

import uvloop

from benchmarks.http_load import post, requests_per_s
from benchmarks.ledger_fill import REVISION, image, links_of, lived
from benchmarks.ledger_service import charges_over_http
from benchmarks.processes import ECHO, process, redis_server
from shared.chain import verify_chain
from teacher_service.access.keys import mint
from teacher_service.metering.archive import Archive
from teacher_service.metering.ledger import Reservation
from teacher_service.metering.redis.store import RedisLedger
from teacher_service.metering.sqlite import group_commit
from teacher_service.metering.sqlite.store import SqliteLedger

CLIENTS = 16
CHARGES = 1500
"""In one round of one side."""
ROUNDS = 5
EVENTS = 1_000_000
VERIFIED = 200_000
BODY_BYTES = 2000


def run(events: int = EVENTS) -> None:
    """Print all tables and the environment they were measured in."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(f"this disk keeps 4 kB in {_sync_ms(folder):.2f} ms (median)")
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        _report_stores(folder / "stores", runner)
        _report_service(folder / "service")
        _report_growth(folder / "growth", runner, events)
    _report_verification()


def _report_stores(folder: Path, runner: asyncio.Runner) -> None:
    with ExitStack() as stack:
        echo = stack.enter_context(process(ECHO))
        redis_url = stack.enter_context(redis_server(folder / "redis"))
        sqlite = stack.enter_context(Desk(runner, SqliteLedger(folder / "ledger.sqlite")))
        alone = stack.enter_context(Desk(runner, SqliteLedger(folder / "alone.sqlite")))
        redis = stack.enter_context(Desk(runner, RedisLedger(redis_url)))
        rates = _in_turns(
            {
                "bare echo, requests/s": lambda: _echo_rate(echo.address),
                "SQLite": sqlite.charges_per_s,
                "SQLite, a commit for each": lambda: _without_groups(alone),
                "Redis, appendfsync always": redis.charges_per_s,
            }
        )
    echo_rate, grouped, single, _ = rates.values()
    print(f"\nNew durable charges a second, {CLIENTS} clients, on the ledger itself")
    for name, rate in rates.items():
        print(f"{name:<28}{rate:>10,.0f}{rate / echo_rate:>8.2f} of the echo")
    print(f"group commit / a commit for each: {grouped / single:.1f}")


def _report_service(folder: Path) -> None:
    with process(ECHO) as echo, redis_server(folder / "redis") as redis_url:
        sides: dict[str, Callable[[], float]] = {"bare echo, requests/s": lambda: _echo_rate(echo.address)}
        with (
            charges_over_http(folder / "a", f"sqlite:///{folder / 'ledger.sqlite'}", CLIENTS) as sqlite,
            charges_over_http(folder / "b", redis_url, CLIENTS) as redis,
        ):
            rates = _in_turns(sides | {"service on SQLite": sqlite, "service on Redis": redis})
    echo_rate, *_ = rates.values()
    print(f"\nThe same through the whole service over HTTP, {CLIENTS} clients, descriptors cached")
    for name, rate in rates.items():
        print(f"{name:<28}{rate:>10,.0f}{rate / echo_rate:>8.2f} of the echo")


def _report_growth(folder: Path, runner: asyncio.Runner, events: int) -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(redis_server(folder / name)) for name in ("empty", "full")]
        desks = {
            "SQLite, empty": Desk(runner, SqliteLedger(folder / "empty.sqlite")),
            "SQLite, full": Desk(runner, SqliteLedger(folder / "full.sqlite"), events),
            "Redis, empty": Desk(runner, RedisLedger(urls[0])),
            "Redis, full": Desk(runner, RedisLedger(urls[1]), events),
        }
        for desk in desks.values():
            stack.enter_context(desk)
        rates = _in_turns({name: desk.charges_per_s for name, desk in desks.items()})
    print(f"\nCharges a second on a ledger with {events:,} events on the key's chain, beside an empty one")
    for store in ("SQLite", "Redis"):
        empty, full = rates[f"{store}, empty"], rates[f"{store}, full"]
        print(f"{store:<10}empty {empty:>8,.0f}   full {full:>8,.0f}   full / empty {full / empty:.2f}")


def _report_verification() -> None:
    key, _ = lived(0)
    links = list(links_of(key, VERIFIED))
    seconds = []
    for _ in range(3):
        started_s = time.perf_counter()
        verify_chain(links)
        seconds.append(time.perf_counter() - started_s)
    print(f"\nVerification of a chain: {len(links) / median(seconds):,.0f} events a second")


class Desk:
    """An open ledger and a key on it, driven by many clients of one event loop.

    Args:
        runner: the loop.
        ledger: not opened yet.
        events: settled requests that the key has behind it.
    """

    def __init__(self, runner: asyncio.Runner, ledger: Archive, events: int = 0) -> None:
        self._runner, self._ledger = runner, ledger
        self._bought = 0
        runner.run(ledger.open())
        if events:
            key, records = lived(events)
            runner.run(ledger.restore(records))
        else:
            _, key = mint("benchmark", 10**12)
            runner.run(ledger.create_key(key))
        self._key_id = key.key_id

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._ledger.close())

    def charges_per_s(self) -> float:
        """One round."""
        numbers = range(self._bought, self._bought + CHARGES)
        self._bought += CHARGES
        started_s = time.perf_counter()
        self._runner.run(self._buy(numbers))
        return CHARGES / (time.perf_counter() - started_s)

    async def _buy(self, numbers: Iterable[int]) -> None:
        waiting = iter(numbers)
        await asyncio.gather(*(self._client(waiting) for _ in range(CLIENTS)))

    async def _client(self, waiting: Iterable[int]) -> None:
        for number in waiting:
            new = image(number, "benchmark")
            hold = await self._ledger.reserve(Reservation(self._key_id, f"b-{number}", REVISION, (new,)))
            await self._ledger.settle(hold, {new: REVISION})


def _without_groups(desk: Desk) -> float:
    with mock.patch.object(group_commit, "MAX_GROUP", 1):
        return desk.charges_per_s()


def _echo_rate(address: str) -> float:
    return requests_per_s(address, [post("/", bytes(BODY_BYTES), {})] * CHARGES, CLIENTS)


def _in_turns(sides: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """The median rate of each side, over rounds in turns; the first round warms up."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(ROUNDS + 1):
        for name, side in sides.items():
            rate = side()
            if turn:
                rates[name].append(rate)
    return {name: median(found) for name, found in rates.items()}


def _sync_ms(folder: Path) -> float:
    """How long this disk takes to keep four kilobytes: what group commit shares."""
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(bytes(4096))
            started_s = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - started_s) * 1000)
    return median(times)


if __name__ == "__main__":
    run(*(int(argument) for argument in sys.argv[1:]))
