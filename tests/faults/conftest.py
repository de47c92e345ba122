"""Fixtures of the fault tests, and their table at the end of a run.

The table also goes to the file that ``RATION_FAULT_REPORT`` names, as Markdown.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from faults.books import Books, keep_books
from faults.effort import Effort
from faults.effort import effort as effort_of_the_environment
from faults.stores import Estate, found_estate
from faults.tally import Tally, as_markdown, as_text
from faults.zygote import Zygote
from redis_process import RedisProcess

_TALLIES: list[Tally] = []
_LONG_TEST_S = 3600


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A long run may take its time; the usual one keeps the project's limit."""
    if effort_of_the_environment().is_long:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.timeout(_LONG_TEST_S))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was tried and what was found."""
    if not _TALLIES:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(as_text(_TALLIES))
    if report := os.environ.get("RATION_FAULT_REPORT"):
        Path(report).write_text(as_markdown(_TALLIES), encoding="utf-8")


@pytest.fixture(scope="session")
def effort() -> Effort:
    """How hard to try."""
    return effort_of_the_environment()


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Forks services and trainers; whatever still lives in the end is killed."""
    zygote = Zygote(tmp_path_factory.mktemp("zygote"))
    yield zygote
    zygote.close()


Tallying = Callable[..., AbstractContextManager[Tally]]


@pytest.fixture
def tallying(effort: Effort) -> Tallying:
    """``with tallying("scenario", "store") as tally:`` ends by checking it and puts it into the table."""

    @contextmanager
    def counted(scenario: str, store: str) -> Iterator[Tally]:
        tally = Tally(scenario, store, effort.seed)
        _TALLIES.append(tally)
        started_s = time.monotonic()
        try:
            yield tally
        finally:
            tally.seconds = time.monotonic() - started_s
        tally.check()

    return counted


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest) -> str:
    """Each store in turn."""
    name: str = request.param
    return name


@pytest.fixture
def redis(start_redis: Callable[..., RedisProcess]) -> Iterator[RedisProcess]:
    """A server of one's own, as safe as a ledger's can be."""
    server = start_redis(appendfsync="always")
    yield server
    server.close()


@pytest.fixture
def found(request: pytest.FixtureRequest, tmp_path: Path, zygote: Zygote) -> Iterator[Callable[..., Estate]]:
    """``found(store, replicas=1, ...)`` makes what services of that store need; they end with the test."""
    estates: list[Estate] = []

    def make(store: str, **options: Any) -> Estate:
        if store == "redis":
            options.setdefault("url", request.getfixturevalue("redis").url)
        estates.append(found_estate(store, tmp_path, zygote, **options))
        return estates[-1]

    yield make
    for estate in estates:
        for replica in estate.replicas:
            replica.close()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, effort: Effort) -> Books:
    """Two keys and a few records."""
    chance = effort.chance("small books")
    return asyncio.run(keep_books(tmp_path_factory.mktemp("small"), chance, keys=2, requests=4))


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory, effort: Effort) -> Books:
    """Four keys and some hundred records."""
    chance = effort.chance("large books")
    return asyncio.run(keep_books(tmp_path_factory.mktemp("large"), chance, keys=4, requests=300))
