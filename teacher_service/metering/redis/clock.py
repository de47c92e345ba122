"""The Redis server's time, kept up to date from its answers instead of asked for each time.

In: the times that answers carry. Out: milliseconds since 1970. Records carry a time that is hashed before it
is sent; the server refuses one that is off by more than :data:`TOLERANCE_MS` and tells the right one.
"""

import time
from typing import Protocol

TOLERANCE_MS = 5000
"""More than an answer may take: or a slow server would refuse every record that reaches it."""


class Clock(Protocol):
    """Milliseconds since 1970, as the server counts them."""

    def __call__(self) -> int:
        """The time now."""

    def learn(self, server_now_ms: int, round_trip_s: float) -> None:
        """An answer just came that was given at this time, somewhere on its round trip."""


class ServerClock:
    """The server's time is this machine's monotonic time plus an offset that is learned."""

    def __init__(self) -> None:
        self._offset_ms = time.time_ns() // 1_000_000 - _monotonic_ms()

    def __call__(self) -> int:
        """The server's time, as far as it is known."""
        return _monotonic_ms() + self._offset_ms

    def learn(self, server_now_ms: int, round_trip_s: float) -> None:
        """An answer just came that was given at this time, taken to be the middle of its round trip."""
        self._offset_ms = server_now_ms + round(round_trip_s * 500) - _monotonic_ms()


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
