"""Holds in SQLite: how one is recorded, ends, is given back, and expires with its lease.

In: an open transaction; times in milliseconds since 1970. Out: changed rows of ``holds`` and of the
key's ``held``. Rows that hang on a hold (its images, its idempotency key) go with it.
"""

import sqlite3
from collections.abc import Iterable

from shared.chain import window_end_ms
from teacher_service.metering.ledger import BudgetExhausted, Hold
from teacher_service.metering.refusals import hold_expired
from teacher_service.metering.sqlite.transactions.accounts import AccountRow, account, begin_window
from teacher_service.metering.waiting import MAX_WAIT_MS, MIN_WAIT_MS


def hold_queries(db: sqlite3.Connection, key: AccountRow, charges: int, now_ms: int) -> None:
    """Raise the key's ``held``, all or nothing. Raises BudgetExhausted."""
    if charges == 0:
        return
    begin_window(db, key, now_ms)
    held = db.execute(
        "UPDATE keys SET held = held + ? WHERE key_no = ? AND used_in_window + held + ? <= budget",
        (charges, key.key_no, charges),
    )
    if held.rowcount != 1:
        now = account(db, key.key_id)  # read again: expired holds may have been released since
        # The latest window may begin later than now, where the clock was set back: it ends all the later.
        end_ms = window_end_ms(now.window, max(now_ms, now.window_start_ms))
        refills_in_ms = None if end_ms is None else end_ms - now_ms
        remaining = now.budget - now.used_in_window - now.held
        raise BudgetExhausted(key.key_id, charges, remaining, now.budget, refills_in_ms)


def record_hold(db: sqlite3.Connection, key: AccountRow, hold: Hold, now_ms: int) -> None:
    """Write the hold; under billing ``distinct`` also its images, which others must now wait for."""
    db.execute(
        "INSERT INTO holds VALUES (?, ?, ?, ?, ?)",
        (hold.hold_id, key.key_no, len(hold.charged_images), now_ms, hold.expires_at_ms),
    )
    if key.billing == "distinct":
        revision = bytes.fromhex(hold.reservation.teacher_revision)
        db.executemany(
            "INSERT INTO held_images VALUES (?, ?, ?, ?)",
            [(key.key_no, revision, bytes.fromhex(image), hold.hold_id) for image in hold.charged_images],
        )


def end_hold(db: sqlite3.Connection, hold: Hold, now_ms: int) -> None:
    """Take out a live hold that is being settled. Raises HoldExpired."""
    ended = db.execute(
        "DELETE FROM holds WHERE hold_id = ? AND expires_at_ms > ? RETURNING charges", (hold.hold_id, now_ms)
    ).fetchall()
    if ended != [(len(hold.charged_images),)]:
        raise hold_expired(hold)


def retry_after_ms(db: sqlite3.Connection, hold_id: str, now_ms: int) -> int:
    """As long again as the other request has taken so far: waiting grows with what is waited for."""
    ((created_at_ms, expires_at_ms),) = db.execute(
        "SELECT created_at_ms, expires_at_ms FROM holds WHERE hold_id = ?", (hold_id,)
    ).fetchall()
    age_ms, left_ms = now_ms - created_at_ms, expires_at_ms - now_ms
    return int(max(MIN_WAIT_MS, min(age_ms, left_ms, MAX_WAIT_MS)))


def release(db: sqlite3.Connection, hold: Hold) -> None:
    """Give a hold back; does nothing if it is gone."""
    key = account(db, hold.reservation.key_id)
    rows = db.execute("DELETE FROM holds WHERE hold_id = ? RETURNING charges", (hold.hold_id,)).fetchall()
    _give_back(db, key.key_no, rows)


def drop_expired(db: sqlite3.Connection, key_no: int, now_ms: int) -> None:
    """Release the holds of one key whose lease has ended: they were never delivered."""
    rows = db.execute(
        "DELETE FROM holds WHERE key_no = ? AND expires_at_ms <= ? RETURNING charges", (key_no, now_ms)
    ).fetchall()
    _give_back(db, key_no, rows)


def drop_all_expired(db: sqlite3.Connection, now_ms: int) -> None:
    """The same for every key."""
    keys = db.execute("SELECT DISTINCT key_no FROM holds WHERE expires_at_ms <= ?", (now_ms,)).fetchall()
    for (key_no,) in keys:
        drop_expired(db, key_no, now_ms)


def drop_all(db: sqlite3.Connection) -> None:
    """Release every hold: their owner is dead, so none of them can be delivered any more."""
    db.execute("DELETE FROM holds")
    db.execute("UPDATE keys SET held = 0 WHERE held > 0")


def _give_back(db: sqlite3.Connection, key_no: int, charges: Iterable[tuple[int]]) -> None:
    total = sum(count for (count,) in charges)
    if total:
        db.execute("UPDATE keys SET held = held - ? WHERE key_no = ?", (total, key_no))
