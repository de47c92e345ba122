"""Holds that owe nothing: kept in this process alone, since there is nothing to keep from others.

In: holds of requests whose every image is paid. Out: the same, once each, until their lease ends.
"""

from teacher_service.metering.ledger import Hold


class ReplayHolds:
    """Oldest first; all leases are of one length, so the oldest ends first."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}

    def keep(self, hold: Hold, now_ms: int) -> None:
        """Remember a hold, and forget those whose lease has ended."""
        while self._holds:
            oldest = next(iter(self._holds.values()))
            if oldest.expires_at_ms > now_ms:
                break
            del self._holds[oldest.hold_id]
        self._holds[hold.hold_id] = hold

    def put_back(self, hold: Hold) -> None:
        """A settlement failed for want of the store: the hold outlives it, as a recorded one does."""
        self._holds[hold.hold_id] = hold

    def take(self, hold: Hold) -> bool:
        """Whether the hold was kept here; it is not any more."""
        return self._holds.pop(hold.hold_id, None) is not None

    def clear(self) -> None:
        """Forget all."""
        self._holds.clear()
