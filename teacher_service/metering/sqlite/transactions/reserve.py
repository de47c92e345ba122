"""Reserve in SQLite: what a request must pay, and the hold on it.

In: an open transaction and a request's distinct images. Out: a hold, or a refusal that changed nothing.

An image is *paid* once it stands in ``charged`` for the key and the teacher's revision. Under billing
``distinct`` a paid image is a replay and free, and an image under another live hold must be waited for.
Under ``every-call`` each call pays for each image whatever other calls do, except that a repetition of
a settled call, under the same idempotency key, is a replay as a whole.
"""

import sqlite3

from teacher_service.metering.ledger import Hold, Reservation
from teacher_service.metering.sqlite.transactions.accounts import AccountRow, spendable
from teacher_service.metering.sqlite.transactions.holds import (
    drop_expired,
    hold_queries,
    record_hold,
)
from teacher_service.metering.sqlite.transactions.idempotency import (
    record_in_flight,
    repeats_settled_call,
    seen_call,
)
from teacher_service.metering.sqlite.transactions.images import paid_images, refuse_held
from teacher_service.metering.sqlite.transactions.usage import check_replays
from teacher_service.metering.waiting import new_hold_id


def replay(db: sqlite3.Connection, reservation: Reservation, now_ms: int, lease_ms: int) -> Hold | None:
    """A hold for a request that owes nothing, or None where :func:`reserve` must decide.

    Reads only, so that a replay costs one commit instead of two: paid images stay paid, and there is
    nothing to keep from others. Raises UnknownKey, KeyRevoked, TooManyReplays.
    """
    key = spendable(db, reservation.key_id)
    if reservation.idempotency_key is None:
        free = key.billing == "distinct"
    else:
        seen = seen_call(db, key, reservation)
        free = seen is not None and seen.is_settled_form_of(reservation)
    if free and len(paid_images(db, key, reservation)) == len(reservation.images):
        check_replays(db, key, len(reservation.images), now_ms)
        return Hold(new_hold_id(), reservation, frozenset(), now_ms + lease_ms)
    return None


def reserve(db: sqlite3.Connection, reservation: Reservation, now_ms: int, lease_ms: int) -> Hold:
    """Hold one query for each image that must be charged, all or none.

    An image in flight is refused before the budget is looked at: the hold that covers it may be what
    exhausts the budget.

    Raises:
        UnknownKey, KeyRevoked, IdempotencyMismatch, InFlight, TooManyReplays, BudgetExhausted
    """
    key = spendable(db, reservation.key_id)
    drop_expired(db, key.key_no, now_ms)
    repeated = repeats_settled_call(db, key, reservation, now_ms)
    to_pay = _to_pay(db, key, reservation, repeated)
    if key.billing == "distinct":
        refuse_held(db, key, reservation.teacher_revision, to_pay, now_ms)
    check_replays(db, key, len(reservation.images) - len(to_pay), now_ms)
    hold_queries(db, key, len(to_pay), now_ms)
    hold = Hold(new_hold_id(), reservation, frozenset(to_pay), now_ms + lease_ms)
    record_hold(db, key, hold, now_ms)
    if not repeated:  # a repetition, should it fail, must not take the settled call's record with it
        record_in_flight(db, key, hold, now_ms)
    return hold


def _to_pay(
    db: sqlite3.Connection, key: AccountRow, reservation: Reservation, repeated: bool
) -> tuple[str, ...]:
    if key.billing == "every-call" and not repeated:
        return reservation.images
    paid = paid_images(db, key, reservation)
    return tuple(image for image in reservation.images if bytes.fromhex(image) not in paid)
