"""The ledger beside a bare echo, beside itself without group commit, and a million events later.

In: nothing, or how many events a full ledger has. Out: tables on standard output, and whether each target was
met. Sides of a comparison run in turns, after a warm-up. Clients share one key, and each charge is for an
image that is new to it.

    python -m benchmarks.ledger
"""

import asyncio
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import uvloop

from benchmarks.http_load import post, requests_per_s
from benchmarks.ledger_desk import Desk, open_desk
from benchmarks.ledger_fill import links_of, lived
from benchmarks.ledger_service import charges_over_http
from benchmarks.ledger_targets import Target, print_targets
from benchmarks.processes import ECHO, process, redis_server
from shared.chain import verify_chain
from teacher_service.metering.redis.store import RedisLedger
from teacher_service.metering.sqlite.store import SqliteLedger

CLIENTS = 16
CHARGES = 1500
"""In one round of one side."""
ROUNDS = 5
EVENTS = 1_000_000
VERIFIED = 200_000
BODY_BYTES = 2000
FLAT = 0.9
"""From this share of an empty ledger's rate on, a full one counts as no slower: rounds differ by as much."""


def run(events: int = EVENTS) -> None:
    """Print all tables, the environment they were measured in, and the targets."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(f"this disk keeps 4 kB in {_sync_ms(folder):.2f} ms (median)")
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        targets = [
            *_through_the_service(folder / "service"),
            *_on_the_stores(folder / "stores", runner),
            *_growth(folder / "growth", runner, events),
            *_verification(),
        ]
    print_targets(targets)


def _through_the_service(folder: Path) -> Iterator[Target]:
    with process(ECHO) as echo, redis_server(folder / "redis") as redis_url:
        sides: dict[str, Callable[[], float]] = {"bare echo, requests/s": lambda: _echo_rate(echo.address)}
        with (
            charges_over_http(folder / "a", f"sqlite:///{folder / 'ledger.sqlite'}", CLIENTS) as sqlite,
            charges_over_http(folder / "b", redis_url, CLIENTS) as redis,
        ):
            rates = _in_turns(sides | {"service on SQLite": sqlite, "service on Redis": redis})
    print(f"\nNew durable charges a second through the whole service, {CLIENTS} clients, descriptors cached")
    echo_rate = _print_beside_echo(rates)
    for store in ("SQLite", "Redis"):
        yield Target(
            f"through the service on {store}, of the echo", rates[f"service on {store}"] / echo_rate, 0.30
        )


def _on_the_stores(folder: Path, runner: asyncio.Runner) -> Iterator[Target]:
    with ExitStack() as stack:
        echo = stack.enter_context(process(ECHO))
        redis_url = stack.enter_context(redis_server(folder / "redis"))

        def desk(ledger: SqliteLedger | RedisLedger) -> Desk:
            return stack.enter_context(open_desk(runner, ledger, CLIENTS))

        sides = {
            "SQLite": desk(SqliteLedger(folder / "ledger.sqlite")),
            "SQLite, a commit for each": desk(SqliteLedger(folder / "alone.sqlite", max_group=1)),
            "Redis, appendfsync always": desk(RedisLedger(redis_url)),
        }
        rates = _in_turns({"bare echo, requests/s": lambda: _echo_rate(echo.address), **_rounds(sides)})
    print(f"\nThe same on the ledger itself, {CLIENTS} clients in its process")
    echo_rate = _print_beside_echo(rates)
    for side in ("SQLite", "Redis, appendfsync always"):
        yield Target(f"charges on {side}, of the echo", rates[side] / echo_rate, 0.30)
    yield Target(
        "group commit / a commit for each", rates["SQLite"] / rates["SQLite, a commit for each"], 4.0
    )


def _growth(folder: Path, runner: asyncio.Runner, events: int) -> Iterator[Target]:
    with ExitStack() as stack:
        empty_url, full_url = (stack.enter_context(redis_server(folder / name)) for name in ("empty", "full"))

        def desk(ledger: SqliteLedger | RedisLedger, events: int = 0) -> Desk:
            return stack.enter_context(open_desk(runner, ledger, CLIENTS, events))

        sides = {
            "SQLite, empty": desk(SqliteLedger(folder / "empty.sqlite")),
            "SQLite, full": desk(SqliteLedger(folder / "full.sqlite"), events),
            "Redis, empty": desk(RedisLedger(empty_url)),
            "Redis, full": desk(RedisLedger(full_url), events),
        }
        rates = _in_turns(_rounds(sides))
    print(f"\nCharges a second on a ledger with {events:,} events on the key's chain, beside an empty one")
    for store in ("SQLite", "Redis"):
        empty, full = rates[f"{store}, empty"], rates[f"{store}, full"]
        print(f"{store:<10}empty {empty:>8,.0f}   full {full:>8,.0f}   full / empty {full / empty:.2f}")
        yield Target(f"{store} with {events:,} events / empty", full / empty, FLAT)


def _verification() -> Iterator[Target]:
    key, _ = lived(0)
    links = list(links_of(key, VERIFIED))
    seconds = []
    for _ in range(3):
        started_s = time.perf_counter()
        verify_chain(links)
        seconds.append(time.perf_counter() - started_s)
    rate = len(links) / median(seconds)
    print(f"\nVerification of a chain: {rate:,.0f} events a second")
    yield Target("events verified a second", rate, 100_000)


def _rounds(desks: Mapping[str, Desk]) -> dict[str, Callable[[], float]]:
    return {name: lambda desk=desk: desk.charges_per_s(CHARGES) for name, desk in desks.items()}  # type: ignore[misc]


def _print_beside_echo(rates: Mapping[str, float]) -> float:
    echo_rate = rates["bare echo, requests/s"]
    for name, rate in rates.items():
        print(f"{name:<28}{rate:>10,.0f}{rate / echo_rate:>8.2f} of the echo")
    return echo_rate


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
