"""The holds whose requests this process is working on: their leases are prolonged until it has finished.

In: holds as they are granted and end. Out: which leases to prolong, and which holds nobody waits for. A lease
is short, so that the holds of a killed process end soon; a living process prolongs them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from teacher_service.metering.ledger import Hold

MAX_LIFE_MS = 600_000
"""A request that takes longer is given up: its lease is prolonged no more."""


@dataclass(slots=True)
class _AtWork:
    hold: Hold
    began_ms: int
    prolonged_ms: int


@dataclass(frozen=True, slots=True)
class _Abandoned:
    key_id: str
    until_ms: int


class LiveHolds:
    """Keeps track by hold id; times are milliseconds of a clock that never goes back.

    Args:
        lease_ms: how long the store keeps a hold that is not prolonged.
    """

    def __init__(self, lease_ms: int) -> None:
        self._lease_ms = lease_ms
        self._at_work: dict[str, _AtWork] = {}
        self._abandoned: dict[str, _Abandoned] = {}

    def begin(self, hold: Hold, now_ms: int) -> None:
        """A request holds this."""
        self._at_work[hold.hold_id] = _AtWork(hold, began_ms=now_ms, prolonged_ms=now_ms)

    def end(self, hold: Hold) -> None:
        """It was settled or given back."""
        self._at_work.pop(hold.hold_id, None)
        self._abandoned.pop(hold.hold_id, None)

    def abandon(self, hold: Hold, now_ms: int) -> None:
        """Nobody waits for it, or it could not be given back: the store may still have it."""
        self._at_work.pop(hold.hold_id, None)
        # Twice: what was asked for just now may reach the store a little later.
        self._abandoned[hold.hold_id] = _Abandoned(hold.reservation.key_id, now_ms + 2 * self._lease_ms)

    def abandoned(self, now_ms: int) -> Mapping[str, Sequence[str]]:
        """Key id -> ids of the holds to give back, less those whose lease must have ended meanwhile."""
        found: dict[str, list[str]] = defaultdict(list)
        for hold_id, hold in list(self._abandoned.items()):
            if hold.until_ms <= now_ms:
                del self._abandoned[hold_id]
            else:
                found[hold.key_id].append(hold_id)
        return found

    def given_back(self, hold_ids: Iterable[str]) -> None:
        """The store has them no more."""
        for hold_id in hold_ids:
            self._abandoned.pop(hold_id, None)

    def to_prolong(self, now_ms: int) -> Mapping[str, Sequence[str]]:
        """Key id -> ids of the holds whose turn it is, thrice in a lease; most end before their first."""
        due: dict[str, list[str]] = defaultdict(list)
        for hold_id, work in list(self._at_work.items()):
            if now_ms - work.began_ms > MAX_LIFE_MS:
                del self._at_work[hold_id]
            elif now_ms - work.prolonged_ms >= self._lease_ms // 3:
                work.prolonged_ms = now_ms
                due[work.hold.reservation.key_id].append(hold_id)
        return due
