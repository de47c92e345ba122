"""The descriptor cache that several replicas share: entries in a Redis that may evict them.

In: as every cache. Out: descriptors whose digest was computed anew. An entry is the SHA-256 of the values,
then the values as they are sent; one that does not agree with itself is a miss. So is a Redis that does not
answer: it is said once, counted, and left alone for a while, so that it does not slow each request.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.digest import sha256_hex
from shared.vectors import BYTES_PER_VALUE
from teacher_service.inference.responses import Descriptor
from teacher_service.logs import log
from teacher_service.redis_pool import open_pool
from teacher_service.redis_urls import place_of

TIMEOUT_S = 0.25
PAUSE_S = 5.0
"""How long a Redis that failed is not asked."""
_DIGEST_BYTES = 32
Result = TypeVar("Result")


class RedisCache:
    """One round trip for a request's look-ups, and one for what was computed.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        ttl_s: how long an entry lives.
        dimension: values of a descriptor; entries of another length are misses.
        on_error: called for each failure and each damaged entry.
        now_s: a clock that only moves forward.

    Raises:
        ValueError: the URL cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl_s: int,
        dimension: int,
        on_error: Callable[[], None] = lambda: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = open_pool(url, timeout_s=TIMEOUT_S)
        self._redis = Redis(connection_pool=self._pool)
        self._place, self._ttl_s = place_of(url), ttl_s
        self._entry_bytes = _DIGEST_BYTES + dimension * BYTES_PER_VALUE
        self._on_error, self._now_s = on_error, now_s
        self._silent_until_s: float | None = None
        """While it is down: when it is asked again."""

    async def get(self, revision: str, images: Iterable[str]) -> dict[str, Descriptor]:
        """The descriptors at hand and undamaged; none if Redis does not answer."""
        names = list(images)
        keys = [_key(revision, image) for image in names]
        entries = await self._ask(lambda: self._redis.mget(keys)) if keys else None
        if entries is None:
            return {}
        read = {
            image: self._read(entry) for image, entry in zip(names, entries, strict=True) if entry is not None
        }
        return {image: descriptor for image, descriptor in read.items() if descriptor is not None}

    async def put(self, revision: str, descriptors: Mapping[str, Descriptor]) -> None:
        """Keep descriptors for their time to live, or until Redis needs the room."""
        pipeline = self._redis.pipeline(transaction=False)
        for image, descriptor in descriptors.items():
            entry = bytes.fromhex(descriptor.digest) + descriptor.data
            pipeline.set(_key(revision, image), entry, ex=self._ttl_s)
        await self._ask(pipeline.execute)

    async def reachable(self) -> bool:
        """Whether it answers, or is not asked for the moment."""
        return await self._ask(self._redis.ping) is not None

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.disconnect()

    def _read(self, entry: Any) -> Descriptor | None:
        data = entry[_DIGEST_BYTES:]
        digest = sha256_hex(data)
        if len(entry) != self._entry_bytes or digest != entry[:_DIGEST_BYTES].hex():
            self._on_error()
            log("cache_entry_damaged", level="warning", place=self._place)
            return None
        return Descriptor(data, digest)

    async def _ask(self, work: Callable[[], Awaitable[Result]]) -> Result | None:
        """What Redis answers; None if it does not."""
        if not self._may_be_asked():
            return None
        try:
            answer = await work()
        except (RedisError, OSError) as error:
            self._failed(error)
            return None
        if self._silent_until_s is not None:
            self._silent_until_s = None
            log("cache_is_back", place=self._place)
        return answer

    def _may_be_asked(self) -> bool:
        if self._silent_until_s is None:
            return True
        now_s = self._now_s()
        if now_s < self._silent_until_s:
            return False
        self._silent_until_s = (
            now_s + PAUSE_S
        )  # one request tries; the others need not wait for what it finds
        return True

    def _failed(self, error: Exception) -> None:
        self._on_error()
        if self._silent_until_s is None:
            reason = f"{type(error).__name__}: {error}"
            log("cache_unreachable", level="warning", place=self._place, reason=reason)
        self._silent_until_s = self._now_s() + PAUSE_S


def _key(revision: str, image: str) -> str:
    return f"ration-cache:{revision}:{image}"
