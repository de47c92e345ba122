"""Idempotency keys in SQLite: bound to one body, in flight with a hold, settled with it.

In: an open transaction and a request. Out: whether it repeats a settled one. Each teacher revision has
idempotency keys of its own: another revision gives other descriptors, which is another purchase.
"""

import sqlite3
from dataclasses import dataclass

from teacher_service.metering.ledger import Hold, Reservation
from teacher_service.metering.refusals import call_in_flight, idempotency_mismatch
from teacher_service.metering.sqlite.transactions.accounts import AccountRow
from teacher_service.metering.sqlite.transactions.holds import retry_after_ms
from teacher_service.metering.waiting import CALLS_KEPT_MS


@dataclass(frozen=True, slots=True)
class SeenCall:
    """What an idempotency key was used for; ``hold_id`` is set while that request is in flight."""

    body_digest: str
    hold_id: str | None

    def is_settled_form_of(self, reservation: Reservation) -> bool:
        """Whether ``reservation`` repeats this call, and this call was answered."""
        return self.hold_id is None and self.body_digest == reservation.body_digest


def seen_call(db: sqlite3.Connection, key: AccountRow, reservation: Reservation) -> SeenCall | None:
    """The call that used this request's idempotency key under its revision before, if there was one."""
    if reservation.idempotency_key is None:
        return None
    row = db.execute(
        "SELECT body_digest, hold_id FROM idempotency"
        " WHERE key_no = ? AND idempotency_key = ? AND revision = ?",
        (key.key_no, reservation.idempotency_key, bytes.fromhex(reservation.teacher_revision)),
    ).fetchone()
    return None if row is None else SeenCall(*row)


def repeats_settled_call(
    db: sqlite3.Connection, key: AccountRow, reservation: Reservation, now_ms: int
) -> bool:
    """Whether this request carries the idempotency key of a settled one, and the same body.

    Raises:
        IdempotencyMismatch: the key was used for another body.
        InFlight: its request is not answered yet.
    """
    seen = seen_call(db, key, reservation)
    if seen is None:
        return False
    if seen.body_digest != reservation.body_digest:
        raise idempotency_mismatch(reservation)
    if seen.hold_id is not None:
        raise call_in_flight(reservation, retry_after_ms(db, seen.hold_id, now_ms))
    return seen.is_settled_form_of(reservation)


def record_in_flight(db: sqlite3.Connection, key: AccountRow, hold: Hold, now_ms: int) -> None:
    """Bind the hold's idempotency key to its body until the hold ends."""
    reservation = hold.reservation
    if reservation.idempotency_key is None:
        return
    revision = bytes.fromhex(reservation.teacher_revision)
    db.execute(
        "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?, ?)",
        (
            key.key_no,
            reservation.idempotency_key,
            reservation.body_digest,
            revision,
            hold.hold_id,
            now_ms,
        ),
    )


def record_settled(db: sqlite3.Connection, hold: Hold, now_ms: int) -> None:
    """Keep the idempotency key of a hold that is being settled."""
    if hold.reservation.idempotency_key is not None:
        db.execute(
            "UPDATE idempotency SET hold_id = NULL, at_ms = ? WHERE hold_id = ?", (now_ms, hold.hold_id)
        )


def prune(db: sqlite3.Connection, now_ms: int) -> None:
    """Forget what was settled longer ago than :data:`CALLS_KEPT_MS`, where asking again is free anyway.

    Billed per call, a forgotten key would make a lost answer cost twice; each one kept there was paid for,
    so that budgets bound their number.
    """
    db.execute(
        "DELETE FROM idempotency WHERE key_no IN (SELECT key_no FROM keys WHERE billing = 'distinct')"
        " AND hold_id IS NULL AND at_ms < ?",
        (now_ms - CALLS_KEPT_MS,),
    )
