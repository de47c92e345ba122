"""When the next request may leave: the server's hints, obeyed up to a cap, and backing off without any.

In: response headers, a clock. Out: waits in seconds. One :class:`Pacer` is shared by all concurrent
requests, so that one refusal slows all of them down.
"""

import asyncio
import email.utils
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping

from shared.protocol import Header

WAIT_CAP_S = 60.0
"""The longest single wait; a server that asks for more is asked again after this."""
FIRST_BACKOFF_S = 0.5
LAST_BACKOFF_S = 10.0
"""A service that comes back is found again within this time."""
SPREAD = 0.2
"""Waits are lengthened by up to this part, so that concurrent requests do not return together."""

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")


def duration_s(text: str) -> float | None:
    """Seconds in ``12``, ``1.5s``, ``6m0s`` or ``20ms``; None for anything else."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    match = _DURATION.fullmatch(text) if text else None
    if match is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def hinted_wait_s(headers: Mapping[str, str], wall_s: float) -> float | None:
    """How long the server asks to wait, capped; None if it does not say.

    Args:
        headers: of a response; ``retry-after-ms`` wins over ``Retry-After`` (seconds or a date).
        wall_s: seconds since 1970, for the date.
    """
    milliseconds = duration_s(headers.get(Header.RETRY_AFTER_MS, ""))
    if milliseconds is not None:
        return min(milliseconds / 1000, WAIT_CAP_S)
    text = headers.get(Header.RETRY_AFTER, "")
    seconds = duration_s(text)
    if seconds is None and text:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - wall_s
        except ValueError:
            return None
    return None if seconds is None else min(max(seconds, 0.0), WAIT_CAP_S)


def backoff_s(failures: int) -> float:
    """The wait after the n-th failure in a row (from 1) where the server gives no hint."""
    return min(FIRST_BACKOFF_S * 2.0 ** (failures - 1), LAST_BACKOFF_S)


class Stopped(Exception):
    """Ends a wait when the fetch is to stop."""


class StopSignal:
    """Set once, by an interrupt or the first error; wakes everything that only waits."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Begin to stop."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether to begin nothing new."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Until the fetch is to stop."""
        await self._event.wait()

    async def sleep(self, seconds: float) -> None:
        """Sleep, unless the fetch is to stop.

        Raises:
            Stopped: it is.
        """
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return
        raise Stopped


class Pacer:
    """The earliest moment at which any request may leave."""

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now_s: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._sleep, self._now_s, self._spread = sleep, now_s, spread
        self._opens_at_s = 0.0

    async def turn(self) -> None:
        """Wait until a request may leave."""
        while (wait_s := self._opens_at_s - self._now_s()) > 0:
            await self._sleep(wait_s)

    async def pause(self, wait_s: float) -> None:
        """Hold back this request alone."""
        await self._sleep(self._spread_out(wait_s))

    def hold_all(self, wait_s: float) -> None:
        """Hold back every request that has not left yet."""
        self._opens_at_s = max(self._opens_at_s, self._now_s() + self._spread_out(wait_s))

    def observe(self, headers: Mapping[str, str], images: int) -> None:
        """Read what is left of the rate limit; if the next request would not fit, hold it back."""
        remaining = duration_s(headers.get(Header.REMAINING_IMAGES, ""))
        reset_s = duration_s(headers.get(Header.RESET_IMAGES, ""))
        if remaining is not None and reset_s is not None and remaining < images:
            self.hold_all(min(reset_s, WAIT_CAP_S))

    def _spread_out(self, wait_s: float) -> float:
        return wait_s * (1.0 + SPREAD * self._spread())
