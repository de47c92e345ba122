"""Rate limits counted in Redis: one window for all replicas, and no service while it cannot be."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from types import SimpleNamespace

import limits.aio.storage.memory as memory_storage
import pytest
import redis
from redis_process import RedisProcess

from shared.protocol import Header
from teacher_service.access import rates as rates_module
from teacher_service.access.rates import RateLimits
from teacher_service.errors import Overloaded, RateLimited, TooLarge

CACHE = {"appendonly": "no", "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}


@pytest.fixture(scope="module")
def server(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return start_redis(**CACHE)


@pytest.fixture
def url(server: RedisProcess) -> str:
    with server.client() as client:
        client.flushall()
    return server.url


class Time:
    """Moves Redis forward, by taking it from what its keys have left to live."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def forward(self, seconds: float) -> None:
        left_ms = {key: self._client.pttl(key) - round(seconds * 1000) for key in self._client.keys("*")}
        for key, left in left_ms.items():
            self._client.pexpire(key, left)


@pytest.fixture
def time_of(server: RedisProcess) -> Time:
    return Time(server.client())


def test_replicas_share_a_window_and_exactly_its_limit_gets_through(url: str) -> None:
    async def story() -> int:
        replicas = [RateLimits(url) for _ in range(2)]
        # A hundred at once would wait for each other longer than a service waits for its rates.
        turns = asyncio.Semaphore(16)

        async def spend(replica: RateLimits) -> object:
            async with turns:
                return await replica.spend("k", "15/minute", 2)

        outcomes = await asyncio.gather(*(spend(replicas[n % 2]) for n in range(100)), return_exceptions=True)
        for replica in replicas:
            await replica.close()
        refused = [outcome for outcome in outcomes if isinstance(outcome, RateLimited)]
        admitted = [outcome for outcome in outcomes if isinstance(outcome, dict)]
        assert len(refused) + len(admitted) == 100
        return len(admitted)

    assert asyncio.run(story()) == 7


def test_a_refused_hit_burns_nothing_and_keys_are_apart(url: str) -> None:
    async def story() -> None:
        limits = RateLimits(url)
        headers = await limits.spend("a", "10/minute", 6)
        assert headers[Header.REMAINING_IMAGES] == "4"
        for _ in range(3):
            with pytest.raises(RateLimited):
                await limits.spend("a", "10/minute", 5)
        with pytest.raises(TooLarge):
            await limits.spend("a", "10/minute", 11)
        headers = await limits.spend("a", "10/minute", 4)
        assert headers[Header.REMAINING_IMAGES] == "0"
        assert (await limits.spend("b", "10/minute", 10))[Header.REMAINING_IMAGES] == "0"
        assert await limits.spend("a", "", 10_000) == {}
        await limits.close()

    asyncio.run(story())


@pytest.mark.parametrize("seed", range(12))
def test_who_comes_back_when_told_is_admitted_and_not_much_earlier(
    url: str, time_of: Time, seed: int
) -> None:
    """The same promise as in memory, whatever came before."""
    chance = random.Random(seed)

    async def story() -> None:
        limits = RateLimits(url)
        for _ in range(chance.randint(1, 12)):
            with contextlib.suppress(RateLimited):
                await limits.spend("k", "8/minute", chance.randint(1, 8))
            time_of.forward(chance.uniform(0.0, 40.0))
        images = chance.randint(1, 8)
        while (refusal := await refused(limits, images)) is None:
            pass
        told_s = int(refusal.headers[Header.RETRY_AFTER_MS]) / 1000
        assert told_s <= 120
        if told_s > 1.0:
            time_of.forward(told_s - 1.0)  # a second early: this test itself takes time
            assert await refused(limits, images) is not None
            told_s = 1.0
        time_of.forward(told_s)
        assert await refused(limits, images) is None
        await limits.close()

    async def refused(limits: RateLimits, images: int) -> RateLimited | None:
        try:
            await limits.spend("k", "8/minute", images)
        except RateLimited as refusal:
            return refusal
        return None

    asyncio.run(story())


def test_both_stores_say_the_same_in_every_header(
    url: str, time_of: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows in memory begin at whole minutes, those in Redis with the first request: here both do."""
    clock = SimpleNamespace(now_s=60_000_000.05)
    clock.time = lambda: clock.now_s
    monkeypatch.setattr(memory_storage, "time", clock)

    async def story() -> None:
        in_memory, in_redis = RateLimits(), RateLimits(url)
        # No pause is so long that both windows expire: then one in Redis begins anew.
        for images, pause_s in ((3, 0), (4, 10), (2, 20), (1, 40), (6, 5), (3, 30), (8, 50), (8, 45), (8, 5)):
            told = [await headers(limits, images) for limits in (in_memory, in_redis)]
            told_ms = [int(each.pop(Header.RETRY_AFTER_MS, "0")) for each in told]
            assert told[0] == told[1]
            assert abs(told_ms[0] - told_ms[1]) < 1_000
            clock.now_s += pause_s
            time_of.forward(pause_s)
        await in_redis.close()

    async def headers(limits: RateLimits, images: int) -> dict[str, str]:
        try:
            return await limits.spend("k", "8/minute", images)
        except RateLimited as refusal:
            return refusal.headers

    asyncio.run(story())


def test_a_window_whose_newer_half_was_evicted_is_still_read(
    url: str, server: RedisProcess, time_of: Time
) -> None:
    async def story() -> None:
        limits = RateLimits(url)
        await limits.spend("k", "8/minute", 8)
        time_of.forward(70)
        await limits.spend("k", "8/minute", 1)
        with server.client() as client:
            [current] = [key for key in client.keys("*") if not key.endswith(b"/-1")]
            client.delete(current)
        with pytest.raises(RateLimited):
            await limits.spend("k", "8/minute", 8)
        await limits.close()

    asyncio.run(story())


def test_every_key_in_redis_expires(url: str, server: RedisProcess) -> None:
    async def story() -> None:
        limits = RateLimits(url)
        await limits.spend("k", "8/minute", 8)
        await limits.close()

    asyncio.run(story())
    with server.client() as client:
        assert all(0 < client.ttl(key) <= 120 for key in client.keys("*"))
        assert all(key.startswith(b"ration-rates:") for key in client.keys("*"))


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_while_redis_does_not_answer_nothing_with_a_limit_goes_on(
    start_redis: Callable[..., RedisProcess], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates_module, "TIMEOUT_S", 0.1)
    own = start_redis(**CACHE)

    async def story() -> None:
        limits = RateLimits(own.url)
        await limits.spend("k", "8/minute", 1)
        getattr(own, how)()
        try:
            with pytest.raises(Overloaded) as refusal:
                await limits.spend("k", "8/minute", 1)
            assert refusal.value.status == 503
            assert int(refusal.value.headers[Header.RETRY_AFTER]) > 0
            assert not await limits.reachable()
            assert await limits.spend("k", "", 1) == {}
        finally:
            own.start() if how == "kill" else own.resume()
        assert await limits.reachable()
        assert await limits.spend("k", "8/minute", 1) != {}
        await limits.close()

    asyncio.run(story())
