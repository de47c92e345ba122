"""The cache that replicas share: whole requests in one round trip, and never a reason to fail or to wait."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis_process import RedisProcess

from shared.digest import sha256_hex
from teacher_service.inference.redis_cache import PAUSE_S, RedisCache
from teacher_service.inference.responses import Descriptor

DIMENSION = 8
CACHE = {"appendonly": "no", "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
IMAGES = {f"{number:064x}": bytes([number]) * 4 * DIMENSION for number in range(64)}
DESCRIPTORS = {image: Descriptor(data, sha256_hex(data)) for image, data in IMAGES.items()}
A, B = list(DESCRIPTORS)[:2]


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Caches:
    """Makes caches on one server, and counts their errors."""

    def __init__(self, url: str) -> None:
        self.url, self.clock, self.errors = url, Clock(), 0

    def __call__(self, ttl_s: int = 60, dimension: int = DIMENSION) -> RedisCache:
        return RedisCache(self.url, ttl_s=ttl_s, dimension=dimension, on_error=self._count, now_s=self.clock)

    def _count(self) -> None:
        self.errors += 1


@pytest.fixture(scope="module")
def server(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return start_redis(**CACHE)


@pytest.fixture
def caches(server: RedisProcess) -> Caches:
    with server.client() as client:
        client.flushall()
    return Caches(server.url)


def test_what_one_replica_computed_another_finds_bit_for_bit(caches: Caches) -> None:
    async def story() -> None:
        first, second = caches(), caches()
        await first.put("r", DESCRIPTORS)
        assert await second.get("r", [*DESCRIPTORS, "f" * 64]) == DESCRIPTORS
        assert await second.get("another", DESCRIPTORS) == {}
        assert await second.get("r", []) == {}
        await first.close()
        await second.close()

    asyncio.run(story())
    assert caches.errors == 0


def test_a_request_of_64_images_is_one_command_to_look_up_and_all_entries_expire(
    caches: Caches, server: RedisProcess
) -> None:
    async def story() -> None:
        cache = caches(ttl_s=500)
        await cache.put("r", DESCRIPTORS)
        await cache.get("r", DESCRIPTORS)
        await cache.close()

    with server.client() as client:
        client.config_resetstat()
        asyncio.run(story())
        commands = client.info("commandstats")
        assert commands["cmdstat_mget"]["calls"] == 1
        assert commands["cmdstat_set"]["calls"] == 64
        times = [client.ttl(key) for key in client.scan_iter("*")]
        assert len(times) == 64
        assert all(490 <= left_s <= 500 for left_s in times)


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry[:-1] + bytes([entry[-1] ^ 1]),  # a bit of the values
        lambda entry: bytes([entry[0] ^ 1]) + entry[1:],  # a bit of the digest
        lambda entry: entry[:-4],
        lambda entry: entry[:-1],
        lambda entry: b"",
        lambda entry: entry + bytes(4),
    ],
)
def test_a_damaged_entry_is_a_miss_and_is_mended(
    caches: Caches, server: RedisProcess, damage: Callable[[bytes], bytes]
) -> None:
    async def story() -> None:
        cache = caches()
        await cache.put("r", {A: DESCRIPTORS[A], B: DESCRIPTORS[B]})
        with server.client() as client:
            [key] = client.keys(f"*{A}")
            client.set(key, damage(client.get(key)))
        assert await cache.get("r", [A, B]) == {B: DESCRIPTORS[B]}
        assert caches.errors == 1
        await cache.put("r", {A: DESCRIPTORS[A]})
        assert await cache.get("r", [A]) == {A: DESCRIPTORS[A]}
        await cache.close()

    asyncio.run(story())


def test_an_entry_that_agrees_with_itself_but_not_with_the_teacher_is_a_miss(caches: Caches) -> None:
    async def story() -> None:
        cache, other = caches(), caches(dimension=DIMENSION + 1)
        await cache.put("r", {A: DESCRIPTORS[A]})
        assert await other.get("r", [A]) == {}
        await cache.close()
        await other.close()

    asyncio.run(story())


def test_a_redis_that_is_gone_is_a_miss_said_once_and_asked_again_after_a_pause(
    start_redis: Callable[..., RedisProcess], caplog: pytest.LogCaptureFixture
) -> None:
    own = start_redis(**CACHE)
    caches = Caches(own.url)

    async def story() -> None:
        cache = caches()
        await cache.put("r", {A: DESCRIPTORS[A]})
        own.kill()
        assert await cache.get("r", [A]) == {}
        assert not await cache.reachable()
        errors = caches.errors
        await cache.put("r", {A: DESCRIPTORS[A]})
        assert caches.errors == errors == 1  # not asked
        caches.clock.now_s += PAUSE_S
        assert await cache.get("r", [A]) == {}
        assert caches.errors == 2
        own.start()
        assert await cache.get("r", [A]) == {}  # still the pause
        caches.clock.now_s += PAUSE_S
        await cache.put("r", {A: DESCRIPTORS[A]})
        assert await cache.get("r", [A]) == {A: DESCRIPTORS[A]}
        assert await cache.reachable()
        await cache.close()

    with caplog.at_level(logging.INFO, logger="teacher_service"):
        asyncio.run(story())
    assert [record.getMessage() for record in caplog.records] == ["cache_unreachable", "cache_is_back"]


def test_a_redis_that_hangs_costs_a_moment_once_and_not_each_request(
    start_redis: Callable[..., RedisProcess],
) -> None:
    own = start_redis(**CACHE)
    caches = Caches(own.url)

    async def story() -> float:
        cache = caches()
        await cache.get("r", [A])
        own.pause()
        try:
            start_s = time.monotonic()
            for _ in range(100):
                assert await cache.get("r", [A]) == {}
            return time.monotonic() - start_s
        finally:
            own.resume()
            await cache.close()

    assert asyncio.run(story()) < 2.0
    assert caches.errors == 1


def test_after_the_pause_one_request_tries_and_the_others_do_not_wait(
    start_redis: Callable[..., RedisProcess],
) -> None:
    own = start_redis(**CACHE)
    caches = Caches(own.url)

    async def story() -> None:
        cache = caches()
        own.kill()
        await cache.get("r", [A])
        caches.clock.now_s += PAUSE_S
        await asyncio.gather(*(cache.get("r", [A]) for _ in range(20)))
        await cache.close()

    asyncio.run(story())
    assert caches.errors == 2


def test_a_redis_that_takes_no_more_is_an_error_and_not_a_failure(
    start_redis: Callable[..., RedisProcess],
) -> None:
    full = start_redis(**{**CACHE, "maxmemory": "1", "maxmemory-policy": "noeviction"})
    caches = Caches(full.url)

    async def story() -> None:
        cache = caches()
        await cache.put("r", DESCRIPTORS)
        await cache.close()

    asyncio.run(story())
    assert caches.errors == 1


def test_neither_log_nor_error_shows_the_password(caplog: pytest.LogCaptureFixture) -> None:
    async def story(cache: Any) -> None:
        await cache.get("r", [A])
        await cache.close()

    with caplog.at_level(logging.INFO, logger="teacher_service"):
        asyncio.run(story(RedisCache("redis://me:topsecret@127.0.0.1:1/0", ttl_s=1, dimension=1)))
    [record] = caplog.records
    assert record.__dict__["fields"]["place"] == "redis://127.0.0.1:1/0"
    assert "topsecret" not in str(record.__dict__)
