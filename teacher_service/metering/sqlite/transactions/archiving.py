"""Audit and restore in SQLite: what the tables enforce for a key, and filling an empty ledger.

In: an open transaction; checked records of an export. Out: totals, or rows for every record.
"""

import sqlite3
from collections.abc import Iterable

from shared.chain import Genesis, Grant, Revoke, Settle, canonical_record, parse_event
from teacher_service.metering.archive import ArchivedRecord, LedgerNotEmpty, Totals
from teacher_service.metering.sqlite.transactions.accounts import account, append_raw, insert_key
from teacher_service.metering.sqlite.transactions.settle import charge_images
from teacher_service.metering.sqlite.transactions.usage import count_usage, usage_by_day


def totals(db: sqlite3.Connection, key_id: str, now_ms: int) -> Totals:
    """Sums over the tables as of ``now_ms``. Raises UnknownKey."""
    key = account(db, key_id)

    def total(query: str) -> tuple[int, ...]:
        row: tuple[int, ...] = db.execute(f"SELECT {query} WHERE key_no = ?", (key.key_no,)).fetchone()
        return row

    held_by_holds, holds = total("coalesce(sum(charges), 0), count(*) FROM holds")
    ((expired_holds,),) = db.execute(
        "SELECT count(*) FROM holds WHERE key_no = ? AND expires_at_ms <= ?", (key.key_no, now_ms)
    ).fetchall()
    paid = db.execute(
        "SELECT lower(hex(revision)), lower(hex(image)) FROM charged WHERE key_no = ?", (key.key_no,)
    )
    return Totals(
        seq=key.seq,
        head=key.head.hex(),
        records=total("count(*) FROM events")[0],
        budget=key.budget,
        used=key.used,
        window_index=key.window_index,
        used_in_window=key.used_in_window,
        revoked=bool(key.revoked),
        held=key.held,
        held_by_holds=held_by_holds,
        holds=holds,
        expired_holds=expired_holds,
        charges=total("coalesce(sum(charges), 0) FROM charged")[0],
        charged_images=frozenset(paid),
        days=usage_by_day(db, key.key_no),
    )


def bind(db: sqlite3.Connection, public_key: str, *, anew: bool) -> str:
    """The public key that the ledger was first served under, or now is."""
    only_if = "" if anew else " WHERE public_key IS NULL"
    db.execute(f"UPDATE store SET public_key = ?{only_if}", (public_key,))  # noqa: S608
    ((known,),) = db.execute("SELECT public_key FROM store").fetchall()
    return str(known)


def restore(db: sqlite3.Connection, records: Iterable[ArchivedRecord]) -> None:
    """Write every record and what it changes. Raises LedgerNotEmpty, and what ``records`` raises."""
    if db.execute("SELECT 1 FROM keys LIMIT 1").fetchone():
        raise LedgerNotEmpty("The ledger has keys already: an export can only be imported into an empty one.")
    key_no = -1
    for archived in records:
        seq = archived.account.seq
        if seq == 0:
            key_no = insert_key(db, archived.key, archived.created_at_ms)
        _apply(db, key_no, archived)
        append_raw(db, key_no, seq, canonical_record(archived.link.record), archived.link.hash)


def _apply(db: sqlite3.Connection, key_no: int, archived: ArchivedRecord) -> None:
    now = archived.account
    match parse_event(archived.link.record, now.seq):
        case Genesis():
            pass  # the row of the key says it all
        case Grant():
            db.execute("UPDATE keys SET budget = ? WHERE key_no = ?", (now.budget, key_no))
        case Revoke():
            db.execute("UPDATE keys SET revoked = 1 WHERE key_no = ?", (key_no,))
        case Settle() as event:
            db.execute(
                "UPDATE keys SET used = ?, window_index = ?, used_in_window = ? WHERE key_no = ?",
                (now.used, now.window_index, now.used_in_window, key_no),
            )
            count_usage(db, key_no, event)
            images = [item.image for item in event.items if item.charged]
            charge_images(db, key_no, now.billing, event.teacher_revision, images)
