"""Bounds the bytes of all bodies that the service holds at the same time.

In: bytes as they arrive. Out: leave to hold them, or a refusal. A request that ends gives all of its back. No
key may hold so much that nothing is left for the others.
"""

from collections import Counter

from teacher_service.errors import Overloaded


class BytesInFlight:
    """The budget of the whole service; used on one event loop.

    Counted as they arrive, not as they are declared: who only declares holds nothing. Text is held a second
    time while it is decoded, so that memory may reach about twice the bound.

    Args:
        max_bytes: of all requests together.
        most_of_one_key: of all requests of one key together.
    """

    def __init__(self, max_bytes: int, most_of_one_key: int) -> None:
        self._most, self._most_of_one_key = max_bytes, most_of_one_key
        self._held = 0
        self._held_by: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """Bytes of the requests that are read or answered now."""
        return self._held

    def share(self) -> "Share":
        """An empty share, for one request."""
        return Share(self)

    def _hold(self, key_id: str, size: int) -> None:
        of_key = self._held_by[key_id]  # a Counter keeps no zero of a look
        if of_key + size > self._most_of_one_key:
            raise Overloaded(
                f"Requests of this key hold {of_key:,} of the {self._most_of_one_key:,} bytes that one key "
                "may hold. Wait for their answers."
            )
        if self._held + size > self._most:
            raise Overloaded(
                f"The service is full: requests hold {self._held:,} of {self._most:,} bytes. Try again soon."
            )
        self._held += size
        self._held_by[key_id] += size

    def _release(self, key_id: str, size: int) -> None:
        self._held -= size
        self._held_by[key_id] -= size
        if not self._held_by[key_id]:
            del self._held_by[key_id]  # only keys with requests in flight are kept


class Share:
    """What one request holds."""

    def __init__(self, budget: BytesInFlight) -> None:
        self._budget = budget
        self._key_id = ""
        self._size = 0

    def of(self, key_id: str) -> "Share":
        """The share, which from now on counts for this key: it is known before anything is taken."""
        assert self._size == 0
        self._key_id = key_id
        return self

    def take(self, size: int) -> None:
        """Hold ``size`` bytes more. Raises Overloaded: there is no room for them."""
        self._budget._hold(self._key_id, size)
        self._size += size

    def give_back(self) -> None:
        """The request has ended; a second call does nothing."""
        self._budget._release(self._key_id, self._size)
        self._size = 0
