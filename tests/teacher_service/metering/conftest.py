"""Ledgers in files and in a real Redis, driven from plain test code, with a clock that moves when told to."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis_process import RedisProcess

from shared.chain import Billing, Window
from teacher_service.access.keys import mint
from teacher_service.metering.archive import Archive
from teacher_service.metering.ledger import Hold, KeyRecord, Reservation, Settlement
from teacher_service.metering.redis.store import RedisLedger
from teacher_service.metering.sqlite.store import SqliteLedger

LEASE_MS = 10_000


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Clock:
    """Milliseconds since 1970, as the test says."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms

    def learn(self, server_now_ms: int, round_trip_s: float) -> None:
        assert server_now_ms == self.now_ms, "the scripts read another time than the test set"


class Desk:
    """A ledger with an event loop of its own. Images and revisions go by names."""

    def __init__(self, ledger: Archive, clock: Clock, tell_time: Callable[[int], object] = int) -> None:
        self.ledger = ledger
        self.clock = clock
        self._tell_time = tell_time
        self._loop = asyncio.new_event_loop()
        self._requests = 0

    def run(self, work: Any) -> Any:
        async def awaited() -> Any:
            return await work

        self._tell_time(self.clock.now_ms)
        return self._loop.run_until_complete(awaited())

    def open(self) -> None:
        self.run(self.ledger.open())

    def close(self) -> None:
        if not self._loop.is_closed():
            self.run(self.ledger.close())
            self._loop.close()

    def new_key(
        self,
        budget: int = 10,
        billing: Billing = "distinct",
        name: str = "a student",
        window: Window = "total",
    ) -> str:
        _, new = mint(name, budget, billing=billing, window=window)
        self.run(self.ledger.create_key(new))
        return new.key_id

    def account(self, key_id: str) -> KeyRecord:
        record: KeyRecord | None = self.run(self.ledger.key(key_id))
        assert record is not None
        return record

    def reservation(
        self, key_id: str, *images: str, revision: str = "teacher", idem: str | None = None, body: str = ""
    ) -> Reservation:
        self._requests += 1
        return Reservation(
            key_id=key_id,
            request_id=f"request-{self._requests}",
            teacher_revision=digest(revision),
            images=tuple(digest(image) for image in images),
            idempotency_key=idem,
            body_digest=digest(body or " ".join(images)),
        )

    def reserve(self, key_id: str, *images: str, **options: Any) -> Hold:
        hold: Hold = self.run(self.ledger.reserve(self.reservation(key_id, *images, **options)))
        return hold

    def settle(self, hold: Hold) -> Settlement:
        settlement: Settlement = self.run(self.ledger.settle(hold, descriptors_of(hold)))
        return settlement

    def release(self, hold: Hold) -> None:
        self.run(self.ledger.release(hold))

    def buy(self, key_id: str, *images: str, **options: Any) -> Settlement:
        return self.settle(self.reserve(key_id, *images, **options))

    def links(self, key_id: str) -> Sequence[Any]:
        links: Sequence[Any] = self.run(self.ledger.links(key_id))
        return links


def descriptors_of(hold: Hold) -> dict[str, str]:
    return {image: digest(image + hold.reservation.teacher_revision) for image in hold.reservation.images}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.sqlite"


@pytest.fixture
def make_desk() -> Iterator[Callable[..., Desk]]:
    """``make_desk(path, clock, ...)`` opens a ledger on a file; all are closed in the end."""
    desks: list[Desk] = []

    def make(path: Path, clock: Clock | None = None, **options: Any) -> Desk:
        clock = clock or Clock()
        desk = Desk(SqliteLedger(path, clock_ms=clock, **{"lease_ms": LEASE_MS, **options}), clock)
        desk.open()
        desks.append(desk)
        return desk

    yield make
    for desk in desks:
        desk.close()


@pytest.fixture(scope="session")
def redis_server(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    """One server for all tests that need no other."""
    return start_redis()


@pytest.fixture
def make_redis_desk(redis_server: RedisProcess) -> Iterator[Callable[..., Desk]]:
    """``make_redis_desk(clock, ...)`` opens a ledger on a Redis that is empty at the first call.

    The scripts read the test's time from a Redis key instead of asking the server for its own.
    """
    desks: list[Desk] = []
    client = redis_server.client()
    client.flushall()

    def make(clock: Clock | None = None, **options: Any) -> Desk:
        clock = clock or Clock()
        ledger = RedisLedger(
            redis_server.url,
            clock=clock,
            time_lua="return tonumber(redis.call('GET', 'test:now_ms'))",
            **{"lease_ms": LEASE_MS, "serve": False, **options},
        )
        desk = Desk(ledger, clock, tell_time=lambda now_ms: client.set("test:now_ms", now_ms))
        desk.open()
        desks.append(desk)
        return desk

    yield make
    for desk in desks:
        desk.close()
    client.close()


@pytest.fixture
def sqlite_desk(make_desk: Callable[..., Desk], path: Path, clock: Clock) -> Desk:
    """A ledger in the file ``path``."""
    return make_desk(path, clock)


@pytest.fixture(params=["sqlite", "redis"])
def desk(request: pytest.FixtureRequest, clock: Clock) -> Desk:
    """A ledger of each kind: what it promises does not depend on the store."""
    if request.param == "sqlite":
        sqlite: Desk = request.getfixturevalue("sqlite_desk")
        return sqlite
    redis: Callable[..., Desk] = request.getfixturevalue("make_redis_desk")
    return redis(clock)
