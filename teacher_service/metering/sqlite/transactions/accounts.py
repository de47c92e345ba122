"""Keys and chains in SQLite: the account of a key, its events, and the changes that its owner makes.

In: an open transaction. Out: account rows and chain records. Every function here is one step of a
transaction that the caller commits; none of them does I/O beside the database.
"""

import sqlite3
from dataclasses import dataclass, replace
from typing import Any

import orjson
from pydantic import BaseModel

from shared.chain import (
    ZERO_HASH,
    Billing,
    Grant,
    Link,
    Revoke,
    Window,
    canonical_record,
    chain_hash,
    record_of,
    window_end_ms,
    window_index,
    window_start_ms,
)
from teacher_service.metering.events import genesis_event
from teacher_service.metering.ledger import (
    Head,
    KeyExists,
    KeyRecord,
    NewKey,
)
from teacher_service.metering.refusals import check_grant, key_revoked, unknown_key

_KEY_COLUMNS = tuple(name for name in KeyRecord.__dataclass_fields__ if name != "window_ends_at_ms")
_SELECT_KEYS = f"""SELECT window_index, {", ".join(f'"{name}"' for name in _KEY_COLUMNS)} FROM keys"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class AccountRow:
    """What a transaction needs to know of a key. ``head`` is raw bytes, ``key_no`` the row number."""

    key_no: int
    key_id: str
    billing: Billing
    budget: int
    window: Window
    used: int
    window_index: int
    used_in_window: int
    held: int
    revoked: bool
    seq: int
    head: bytes

    @property
    def window_start_ms(self) -> int:
        """When the latest window began; no later event may claim to be older."""
        return window_start_ms(self.window, self.window_index)


def account(db: sqlite3.Connection, key_id: str) -> AccountRow:
    """Raises UnknownKey."""
    row = db.execute(
        'SELECT key_no, key_id, billing, budget, "window", used, window_index, used_in_window, held,'
        " revoked, seq, head FROM keys WHERE key_id = ?",
        (key_id,),
    ).fetchone()
    if row is None:
        raise unknown_key(key_id)
    return AccountRow(*row)


def spendable(db: sqlite3.Connection, key_id: str) -> AccountRow:
    """The account of a key that is not revoked. Raises UnknownKey, KeyRevoked."""
    row = account(db, key_id)
    if row.revoked:
        raise key_revoked(key_id)
    return row


def key_record(db: sqlite3.Connection, key_id: str, now_ms: int) -> KeyRecord | None:
    """The key as the rest of the service sees it at ``now_ms``."""
    row = db.execute(f"{_SELECT_KEYS} WHERE key_id = ?", (key_id,)).fetchone()
    return None if row is None else _key_record(row, now_ms)


def key_records(db: sqlite3.Connection, now_ms: int) -> list[KeyRecord]:
    """All keys, oldest first."""
    rows = db.execute(f"{_SELECT_KEYS} ORDER BY created_at_ms, key_no").fetchall()
    return [_key_record(row, now_ms) for row in rows]


def head(db: sqlite3.Connection, key_id: str) -> Head:
    """The end of the chain. Raises UnknownKey."""
    row = account(db, key_id)
    return Head(key_id, row.seq, row.head.hex(), row.used, row.budget)


def links(db: sqlite3.Connection, key_id: str, after: int, limit: int) -> list[Link]:
    """Records with ``seq > after``, oldest first. Raises UnknownKey."""
    rows = db.execute(
        "SELECT record, hash FROM events WHERE key_no = ? AND seq > ? ORDER BY seq LIMIT ?",
        (account(db, key_id).key_no, after, limit),
    )
    return [Link(orjson.loads(record), chain_hash.hex()) for record, chain_hash in rows]


def create_key(db: sqlite3.Connection, key: NewKey, now_ms: int) -> KeyRecord:
    """Open a key with its genesis event. Raises KeyExists."""
    if db.execute("SELECT 1 FROM keys WHERE key_id = ?", (key.key_id,)).fetchone():
        raise KeyExists(key.key_id)
    key_no = insert_key(db, key, now_ms)
    append(db, key_no, genesis_event(key, now_ms), ZERO_HASH)
    return _existing(db, key.key_id, now_ms)


def insert_key(db: sqlite3.Connection, key: NewKey, created_at_ms: int) -> int:
    """Write the row of a key whose chain is still empty; returns its number."""
    cursor = db.execute(
        'INSERT INTO keys (key_id, name, salt, secret_hash, billing, rate, budget, "window", window_index,'
        " created_at_ms, seq, head) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, -1, zeroblob(32))",
        (
            key.key_id,
            key.name,
            key.salt,
            key.secret_hash,
            key.billing,
            key.rate,
            key.budget,
            key.window,
            window_index(key.window, created_at_ms),
            created_at_ms,
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def grant(
    db: sqlite3.Connection, key_id: str, amount: int, now_ms: int, expected_budget: int | None
) -> KeyRecord:
    """Raise the budget. Raises UnknownKey, KeyRevoked, BudgetChanged, ValueError."""
    row = spendable(db, key_id)
    budget = check_grant(key_id, row.budget, amount, expected_budget)
    db.execute("UPDATE keys SET budget = ? WHERE key_no = ?", (budget, row.key_no))
    at_ms = max(now_ms, row.window_start_ms)
    event = Grant(key_id=key_id, seq=row.seq + 1, at_ms=at_ms, amount=amount, budget_after=budget)
    append(db, row.key_no, event, row.head.hex())
    return _existing(db, key_id, now_ms)


def revoke(db: sqlite3.Connection, key_id: str, now_ms: int) -> KeyRecord:
    """Revoke a key and drop its holds. Raises UnknownKey."""
    row = account(db, key_id)
    if not row.revoked:
        db.execute("DELETE FROM holds WHERE key_no = ?", (row.key_no,))
        db.execute("UPDATE keys SET revoked = 1, held = 0 WHERE key_no = ?", (row.key_no,))
        event = Revoke(key_id=key_id, seq=row.seq + 1, at_ms=max(now_ms, row.window_start_ms))
        append(db, row.key_no, event, row.head.hex())
    return _existing(db, key_id, now_ms)


def begin_window(db: sqlite3.Connection, key: AccountRow, now_ms: int) -> AccountRow:
    """If a new window of the budget has begun, nothing is used in it yet; what is held stays held."""
    current = window_index(key.window, now_ms)
    if current <= key.window_index:  # as ever for a budget in total, and where a clock was set back
        return key
    db.execute("UPDATE keys SET window_index = ?, used_in_window = 0 WHERE key_no = ?", (current, key.key_no))
    return replace(key, window_index=current, used_in_window=0)


def append(db: sqlite3.Connection, key_no: int, event: BaseModel, previous: str) -> Link:
    """Put an event at the end of a key's chain, whose hash so far is ``previous``."""
    record = record_of(event)
    record_json = canonical_record(record)
    digest = chain_hash(previous, record_json)
    append_raw(db, key_no, record["seq"], record_json, digest)
    return Link(record, digest)


def append_raw(db: sqlite3.Connection, key_no: int, seq: int, record_json: bytes, digest: str) -> None:
    """Write a record that is known to follow from the chain's end."""
    raw = bytes.fromhex(digest)
    db.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (key_no, seq, record_json, raw))
    db.execute("UPDATE keys SET seq = ?, head = ? WHERE key_no = ?", (seq, raw, key_no))


def _existing(db: sqlite3.Connection, key_id: str, now_ms: int) -> KeyRecord:
    record = key_record(db, key_id, now_ms)
    assert record is not None
    return record


def _key_record(row: tuple[Any, ...], now_ms: int) -> KeyRecord:
    charged_in, *columns = row
    values: dict[str, Any] = dict(zip(_KEY_COLUMNS, columns, strict=True))
    values["revoked"] = bool(values["revoked"])
    window: Window = values["window"]
    current = max(charged_in, window_index(window, now_ms))
    if current > charged_in:
        values["used_in_window"] = 0
    values["window_ends_at_ms"] = window_end_ms(window, window_start_ms(window, current))
    return KeyRecord(**values)
