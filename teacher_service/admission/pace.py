"""How slowly a body may arrive: whoever stalls would hold bytes that others need.

In: the chunks of a body, and who takes them. Out: nothing, or the refusal of one that pauses too long or is
too slow.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from teacher_service.errors import TooSlow


@dataclass(frozen=True, slots=True)
class Pace:
    """What is expected of every body."""

    silence_s: float
    """The longest wait for the next chunk, and how long a body may take before its rate counts."""
    least_bytes_per_s: int
    """On average from then on; 0 for any rate."""

    def left_s(self, elapsed_s: float, received: int) -> float:
        """Seconds for the next chunk, after so many bytes in so much time; 0 or less: it is too late."""
        if not self.least_bytes_per_s:
            return self.silence_s
        return min(self.silence_s, self.silence_s + received / self.least_bytes_per_s - elapsed_s)


async def take_at_pace(
    chunks: AsyncIterator[bytes],
    pace: Pace,
    take: Callable[[bytes], object],
    clock_s: Callable[[], float] = time.monotonic,
) -> None:
    """Hand each chunk on as it arrives, as long as they keep the pace.

    Args:
        chunks: of one body.
        pace: see there.
        take: may raise.
        clock_s: seconds of a clock that never goes back.

    Raises:
        TooSlow: they do not.
    """
    began_s, received = clock_s(), 0
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(pace.left_s(0.0, 0)) as limit:  # one for all: most bodies are one chunk
            async for chunk in chunks:
                take(chunk)
                received += len(chunk)
                left_s = pace.left_s(clock_s() - began_s, received)
                if left_s <= 0:
                    raise _too_slow(pace, clock_s() - began_s, received)
                limit.reschedule(loop.time() + left_s)
    except TimeoutError:
        raise _too_slow(pace, clock_s() - began_s, received) from None


def _too_slow(pace: Pace, elapsed_s: float, received: int) -> TooSlow:
    rate = f" and at least {pace.least_bytes_per_s:,} bytes a second" * bool(pace.least_bytes_per_s)
    return TooSlow(
        f"The body came too slowly: {received:,} bytes in {elapsed_s:.1f} s; no pause of {pace.silence_s:g} s"
        f"{rate} is expected. Nothing was charged. Send it again, in smaller requests if need be."
    )
