"""Settle in SQLite: a hold becomes a charge and an event of the key's chain, in one transaction.

In: an open transaction, a hold, and the digests of what is about to be delivered. Out: the settlement.
"""

import sqlite3
from collections.abc import Iterable, Mapping

from shared.chain import Billing
from teacher_service.metering.events import settle_event
from teacher_service.metering.ledger import Hold, Settlement
from teacher_service.metering.refusals import hold_expired
from teacher_service.metering.sqlite.transactions.accounts import (
    AccountRow,
    append,
    begin_window,
    spendable,
)
from teacher_service.metering.sqlite.transactions.holds import end_hold
from teacher_service.metering.sqlite.transactions.idempotency import record_settled
from teacher_service.metering.sqlite.transactions.usage import count_usage


def settle(
    db: sqlite3.Connection, hold: Hold, descriptors: Mapping[str, str], now_ms: int, *, recorded: bool
) -> Settlement:
    """Charge a hold and append its event.

    Args:
        hold: from ``reserve`` (``recorded``), or from ``replay`` (not recorded).
        descriptors: image digest -> descriptor digest.

    Raises:
        UnknownKey, KeyRevoked, HoldExpired
    """
    key = spendable(db, hold.reservation.key_id)
    if recorded:
        record_settled(db, hold, now_ms)
        end_hold(db, hold, now_ms)
    elif hold.expires_at_ms <= now_ms:
        raise hold_expired(hold)
    key = begin_window(db, key, now_ms)
    _charge(db, key, hold)
    # A clock that was set back must not put a charge into a window that is over.
    at_ms = max(now_ms, key.window_start_ms)
    event = settle_event(hold, descriptors, seq=key.seq + 1, used=key.used, at_ms=at_ms)
    link = append(db, key.key_no, event, key.head.hex())
    count_usage(db, key.key_no, event)
    return Settlement(
        link=link,
        seq=event.seq,
        charged=event.charged,
        replayed=event.replayed,
        used_after=event.used_after,
        budget=key.budget,
        remaining=key.budget - key.used_in_window - key.held,  # what is charged was held before
        at_ms=event.at_ms,
    )


def _charge(db: sqlite3.Connection, key: AccountRow, hold: Hold) -> None:
    """Move a hold's queries from held to used, and remember its images as paid."""
    charges = len(hold.charged_images)
    if charges == 0:
        return
    db.execute(
        "UPDATE keys SET held = held - ?, used = used + ?, used_in_window = used_in_window + ?"
        " WHERE key_no = ?",
        (charges, charges, charges, key.key_no),
    )
    charge_images(db, key.key_no, key.billing, hold.reservation.teacher_revision, hold.charged_images)


def charge_images(
    db: sqlite3.Connection, key_no: int, billing: Billing, revision: str, images: Iterable[str]
) -> None:
    """Remember images as paid. Raises sqlite3.IntegrityError on a second charge under ``distinct``."""
    # Such a charge would be a broken promise: the constraint stops it, whatever went wrong before.
    again = " ON CONFLICT DO UPDATE SET charges = charges + 1" if billing == "every-call" else ""
    raw_revision = bytes.fromhex(revision)
    db.executemany(
        f"INSERT INTO charged VALUES (?, ?, ?, 1){again}",  # noqa: S608
        [(key_no, raw_revision, bytes.fromhex(image)) for image in images],
    )
