"""What a ledger refuses, in words: the same from every store.

In: what was asked. Out: the exception to raise; messages say what happened and the next step.
"""

from teacher_service.metering.ledger import (
    DAY_MS,
    BudgetChanged,
    Hold,
    HoldExpired,
    IdempotencyMismatch,
    InFlight,
    KeyRevoked,
    Reservation,
    TooManyReplays,
    UnknownKey,
)
from teacher_service.metering.validation import MAX_BUDGET_QUERIES


def unknown_key(key_id: str) -> UnknownKey:
    """No such key."""
    return UnknownKey(f"There is no key {key_id}. List the keys with: teacher-service keys list.")


def key_revoked(key_id: str) -> KeyRevoked:
    """The key may not spend or be granted anything."""
    return KeyRevoked(f"Key {key_id} was revoked. Ask the owner of the service for a new one.")


def hold_expired(hold: Hold) -> HoldExpired:
    """A hold that is gone cannot be settled."""
    return HoldExpired(
        f"The hold of request {hold.reservation.request_id} is gone (settled, released or expired): "
        "nothing was charged, and nothing is delivered. Repeat the request."
    )


def image_in_flight(image: str, retry_after_ms: int) -> InFlight:
    """Another live hold covers the image."""
    return InFlight(f"Image {image[:12]}", retry_after_ms)


def call_in_flight(reservation: Reservation, retry_after_ms: int) -> InFlight:
    """A live hold has the same idempotency key."""
    return InFlight(f"Idempotency key {reservation.idempotency_key!r}", retry_after_ms)


def idempotency_mismatch(reservation: Reservation) -> IdempotencyMismatch:
    """The idempotency key stands for another body."""
    return IdempotencyMismatch(
        f"Idempotency key {reservation.idempotency_key!r} was used by key {reservation.key_id} for another "
        "request body. Send a new idempotency key with a new body."
    )


def too_many_replays(key_id: str, limit: int, now_ms: int, dated_ms: int) -> TooManyReplays:
    """The key has had its free replays of the day of UTC that they would be dated in."""
    return TooManyReplays(key_id, limit, (dated_ms // DAY_MS + 1) * DAY_MS - now_ms)


def check_grant(key_id: str, budget: int, amount: int, expected_budget: int | None) -> int:
    """The budget after a grant. Raises BudgetChanged, ValueError."""
    if expected_budget is not None and expected_budget != budget:
        raise BudgetChanged(key_id, expected=expected_budget, budget=budget, amount=amount)
    after = budget + amount
    if amount < 1 or after > MAX_BUDGET_QUERIES:
        raise ValueError(
            f"Cannot grant {amount:,} queries to key {key_id}, which has a budget of {budget:,}: "
            f"grant at least 1, and no more than {MAX_BUDGET_QUERIES - budget:,}."
        )
    return after
