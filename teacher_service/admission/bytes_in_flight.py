"""Bounds the bytes of all bodies that the service holds at the same time.

In: bytes as they arrive. Out: leave to hold them, or a refusal. A request that ends gives all of its back.
"""

from teacher_service.errors import Overloaded


class BytesInFlight:
    """The budget of the whole service; used on one event loop.

    Counted as they arrive, not as they are declared: who only declares holds nothing. Text is held a second
    time while it is decoded, so that memory may reach about twice the bound.
    """

    def __init__(self, max_bytes: int) -> None:
        self._most = max_bytes
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes of the requests that are read or answered now."""
        return self._held

    def share(self) -> "Share":
        """An empty share, for one request."""
        return Share(self)

    def _hold(self, size: int) -> None:
        if self._held + size > self._most:
            raise Overloaded(
                f"The service is full: requests hold {self._held:,} of {self._most:,} bytes. Try again soon."
            )
        self._held += size


class Share:
    """What one request holds."""

    def __init__(self, budget: BytesInFlight) -> None:
        self._budget = budget
        self._size = 0

    def take(self, size: int) -> None:
        """Hold ``size`` bytes more. Raises Overloaded: there is no room for them."""
        self._budget._hold(size)
        self._size += size

    def give_back(self) -> None:
        """The request has ended; a second call does nothing."""
        self._budget._held -= self._size
        self._size = 0
