"""Rate limits in images, one sliding window for each key.

In: a key's limit such as ``600/minute``, and how many images a request holds. Out: leave to go on and the
headers that let a client pace itself, or a refusal that says when to come back. A refused request burns
nothing. Never used for budgets: its windows expire. They are counted in this process, or in a Redis for
several replicas together; while that does not answer, nothing with a limit goes on.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.storage.base import SlidingWindowCounterSupport
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from shared.protocol import Header
from teacher_service.errors import Overloaded, RateLimited, TooLarge
from teacher_service.logs import log
from teacher_service.redis_pool import open_pool
from teacher_service.redis_urls import place_of
from teacher_service.settings import MEMORY

TIMEOUT_S = 1.0


class InvalidRate(ValueError):
    """The text of a rate limit cannot be read."""


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window as the store counts it: images before and in the current one."""

    limit: int
    period_s: float
    previous: int
    previous_left_s: float
    """How long the previous window still weighs on this one."""
    current: int
    current_left_s: float

    @property
    def remaining(self) -> int:
        """Images that would be admitted now."""
        return max(0, self.limit - self._weight_at(0.0))

    def wait_s(self, images: int) -> float:
        """Seconds until ``images`` would be admitted if nothing else comes; ``images`` <= ``limit``.

        The previous window's weight falls linearly and counts rounded down, so the first moment at which
        the request fits follows in closed form: within this window, or else within the next.
        """
        room = self.limit - images - self.current
        if room >= 0 and self.previous:
            wait = _decay_s(self.previous, self.period_s, self.previous_left_s, room)
            if wait < self.current_left_s:
                return wait
        elif room >= 0:
            return 0.0
        return self.current_left_s + _decay_s(self.current, self.period_s, self.period_s, self.limit - images)

    def _weight_at(self, wait_s: float) -> int:
        fading = self.previous * max(0.0, self.previous_left_s - wait_s) / self.period_s
        return math.floor(fading + self.current)


def _decay_s(count: int, period_s: float, left_s: float, room: int) -> float:
    """Seconds until floor(count * (left - t) / period) <= room; a millisecond past the edge itself."""
    if count == 0:  # Redis may have evicted the current window and kept the one before
        return 0.0
    edge_s = left_s - (room + 1) * period_s / count
    return edge_s + 0.001 if edge_s >= 0 else 0.0


_RATE = re.compile(
    r"\s*([0-9]+)\s*(/|per)\s*([1-9][0-9]*)?\s*(second|minute|hour|day)s?\s*", re.IGNORECASE | re.ASCII
)
_LONGEST_RATE = 100
"""Characters."""
LONGEST_PERIOD_S, MOST_IMAGES = 366 * 86_400, 10**12


@lru_cache(maxsize=4096)
def parse_rate(text: str) -> RateLimitItem | None:
    """``600/minute`` or ``5000 per 12 hours`` -> a limit; empty text -> None, no limit.

    Raises:
        InvalidRate: anything else, also several limits at once, or a period of more than a year.
    """
    if not text:
        return None
    if len(text) > _LONGEST_RATE or not _RATE.fullmatch(text):
        raise InvalidRate(
            f"{text[:_LONGEST_RATE]!r} is not a rate: write one limit, images per period, such as 600/minute "
            "or 5000/12 hours."
        )
    item = parse(text)
    if not 1 <= item.amount <= MOST_IMAGES:
        raise InvalidRate(f"{text!r} is no limit: write 1 to {MOST_IMAGES:,} images per period.")
    if item.get_expiry() > LONGEST_PERIOD_S:
        raise InvalidRate(f"The period of {text!r} is too long: at most {LONGEST_PERIOD_S // 86_400} days.")
    return item


class RateLimits:
    """The windows of all keys.

    A sliding-window counter: the moving window keeps one object per image and a fixed window lets a
    refused weighted hit burn quota.

    Args:
        store: ``memory``, or the URL of the Redis that all replicas count in.

    Raises:
        ValueError: the URL cannot be read.
    """

    def __init__(self, store: str = MEMORY) -> None:
        self._pool = None if store == MEMORY else open_pool(store, timeout_s=TIMEOUT_S)
        self._storage = MemoryStorage() if self._pool is None else _redis_storage(self._pool)
        self._place = place_of(store)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    async def reachable(self) -> bool:
        """Whether requests of keys with a rate can be counted now."""
        return bool(await self._storage.check())

    async def close(self) -> None:
        """Disconnect."""
        if self._pool is not None:
            await self._pool.disconnect()

    async def spend(self, key_id: str, rate: str, images: int) -> dict[str, str]:
        """Take ``images`` from the window of a key, and return the headers that describe what is left.

        Raises:
            RateLimited: not now; the headers say when.
            TooLarge: more than the window admits at any time.
            Overloaded: the windows cannot be counted, as their Redis does not answer.
        """
        item = parse_rate(rate)
        if item is None:
            return {}
        if images > item.amount:
            raise TooLarge(
                f"This request holds {images} images; the key's rate of {rate} never admits more than "
                f"{item.amount} at once. Send fewer images in a request."
            )
        try:
            admitted = await self._limiter.hit(item, key_id, cost=images)
            window = await self._window(item, key_id)
        except (RedisError, OSError) as error:
            reason = f"{type(error).__name__}: {error}"
            log("rates_unreachable", level="warning", place=self._place, reason=reason)
            raise Overloaded(
                "Rate limits cannot be counted for the moment; nothing was charged. Try again soon."
            ) from error
        if admitted:
            return rate_headers(window, window.wait_s(images))
        wait_s = max(window.wait_s(images), 0.001)  # the window may have moved on since the refusal
        raise RateLimited(
            f"Rate limit reached: {images} images asked, {window.remaining} of {rate} free now. "
            f"Try again in {math.ceil(wait_s)} s.",
            headers={
                Header.RETRY_AFTER: str(math.ceil(wait_s)),
                Header.RETRY_AFTER_MS: str(math.ceil(wait_s * 1000)),
                **rate_headers(window, wait_s),
            },
        )

    async def _window(self, item: RateLimitItem, key_id: str) -> Window:
        period_s = float(item.get_expiry())
        storage = cast(SlidingWindowCounterSupport, self._storage)
        previous, previous_left_s, current, expires_s = await storage.get_sliding_window(
            item.key_for(key_id), item.get_expiry()
        )
        # The store keeps the current count for one period longer than it is current.
        return Window(
            item.amount, period_s, previous, previous_left_s, current, max(0.0, expires_s - period_s)
        )


def _redis_storage(pool: BlockingConnectionPool) -> RedisStorage:
    options: dict[str, Any] = {"connection_pool": pool}  # which the storage takes and does not declare
    # The address is that of the pool; the storage asks for one, too.
    return RedisStorage("async+redis://", implementation="redispy", key_prefix="ration-rates", **options)


def rate_headers(window: Window, reset_s: float) -> dict[str, str]:
    """The state of a window in OpenAI's headers and in those of the IETF draft.

    ``reset_s`` is when another request as large as this one fits: 0 if it does at once.
    """
    reset = math.ceil(reset_s)
    return {
        Header.LIMIT_IMAGES: str(window.limit),
        Header.REMAINING_IMAGES: str(window.remaining),
        Header.RESET_IMAGES: f"{reset}s",
        Header.RATE_LIMIT: f'"images";r={window.remaining};t={reset}',
        Header.RATE_LIMIT_POLICY: f'"images";q={window.limit};w={round(window.period_s)}',
    }
