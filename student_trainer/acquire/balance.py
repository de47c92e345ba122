"""What a key has left, by the receipts that the service signed for it.

In: the key's account before a fetch, then every receipt as it arrives, in any order. Out: queries left in
the newest window of the budget, and when that window ends. No I/O.

A receipt states what was charged in all. What was charged before the window began is known from the account
for the first window, and for a later one from its earliest receipt.
"""

from shared.chain import window_end_ms, window_index
from shared.protocol import UsageResponse
from shared.receipts import Receipt


class Balance:
    """The account of one key during one fetch.

    Args:
        usage: the account when the fetch began.
    """

    def __init__(self, usage: UsageResponse) -> None:
        self._window = usage.window
        self._newest: Receipt | None = None
        self._in_window_ms = (usage.window_ends_at_ms or 1) - 1
        """A moment that lies in the newest window."""
        self._used_before = usage.used - usage.used_in_window
        """Queries charged before that window."""

    def count(self, receipt: Receipt) -> None:
        """Take a checked receipt into account."""
        used_before, at_ms = receipt.used_after - receipt.charged, receipt.issued_at_ms
        known, its = (window_index(self._window, moment) for moment in (self._in_window_ms, at_ms))
        if its > known:
            self._in_window_ms, self._used_before = at_ms, used_before
        elif its == known:
            self._used_before = min(self._used_before, used_before)
        if self._newest is None or receipt.seq > self._newest.seq:
            self._newest = receipt

    @property
    def remaining(self) -> int | None:
        """Queries left by the newest receipt; None before the first."""
        if self._newest is None:
            return None
        return self._newest.budget - (self._newest.used_after - self._used_before)

    @property
    def window_ends_at_ms(self) -> int | None:
        """When the newest window ends, in milliseconds since 1970; None for a budget in total."""
        return window_end_ms(self._window, self._in_window_ms)
