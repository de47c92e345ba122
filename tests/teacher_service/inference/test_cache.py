"""The memory cache: bounded in bytes, least recently used first, keyed by revision and image."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from teacher_service.inference.cache import OVERHEAD_BYTES, MemoryCache
from teacher_service.inference.responses import Descriptor


def descriptor(size: int = 100) -> Descriptor:
    return Descriptor(bytes(size), "0" * 64)


def test_the_least_recently_used_leaves_first() -> None:
    async def story() -> None:
        cache = MemoryCache(3 * (100 + OVERHEAD_BYTES))
        await cache.put("r", {image: descriptor() for image in "abc"})
        assert set(await cache.get("r", "a")) == {"a"}  # now b is the oldest
        await cache.put("r", {"d": descriptor()})
        assert set(await cache.get("r", "abcd")) == {"a", "c", "d"}
        assert len(cache) == 3

    asyncio.run(story())


def test_another_revision_is_another_entry() -> None:
    async def story() -> None:
        cache = MemoryCache(10_000)
        await cache.put("r1", {"a": descriptor()})
        assert await cache.get("r2", "a") == {}

    asyncio.run(story())


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    async def story() -> None:
        cache = MemoryCache(0)
        await cache.put("r", {"a": descriptor()})
        assert (await cache.get("r", "a"), len(cache), cache.bytes_used) == ({}, 0, 0)

    asyncio.run(story())


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3000)), max_size=40), st.integers(0, 9000))
def test_it_never_holds_more_than_its_bytes_and_counts_them_truly(
    puts: list[tuple[int, int]], max_bytes: int
) -> None:
    async def story() -> None:
        cache = MemoryCache(max_bytes)
        for image, size in puts:
            await cache.put("r", {str(image): descriptor(size)})
            assert cache.bytes_used <= max_bytes
        kept = await cache.get("r", map(str, range(9)))
        assert cache.bytes_used == sum(len(entry.data) + OVERHEAD_BYTES for entry in kept.values())

    asyncio.run(story())
