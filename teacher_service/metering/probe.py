"""Whether a durable write would succeed now, without a write for each time that somebody asks.

In: a write to try. Out: nothing, or LedgerUnavailable.
"""

import asyncio
from collections.abc import Awaitable, Callable

from teacher_service.metering.ledger import LedgerUnavailable

PROBE_EVERY_MS = 1000


class WriteProbe:
    """Tries at most once in :data:`PROBE_EVERY_MS`; in between it repeats the last finding.

    Args:
        write: tries a durable write at the given time; raises LedgerUnavailable.
        clock_ms: milliseconds.
    """

    def __init__(self, write: Callable[[int], Awaitable[object]], clock_ms: Callable[[], int]) -> None:
        self._write = write
        self._clock_ms = clock_ms
        self._tried_at_ms: int | None = None
        self._failure: str | None = None
        self._one_at_a_time = asyncio.Lock()

    async def check(self) -> None:
        """Raises LedgerUnavailable if the last try failed."""
        async with self._one_at_a_time:
            now_ms = self._clock_ms()
            if self._tried_at_ms is None or not 0 <= now_ms - self._tried_at_ms < PROBE_EVERY_MS:
                self._failure = await self._try(now_ms)
                self._tried_at_ms = now_ms
        if self._failure is not None:
            raise LedgerUnavailable(self._failure)

    async def _try(self, now_ms: int) -> str | None:
        try:
            await self._write(now_ms)
        except LedgerUnavailable as error:
            return str(error)
        return None
