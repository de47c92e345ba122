"""Usage by day in SQLite: sums of the settle events, kept beside them so that they need not be read.

In: an open transaction. Out: rows of ``usage_by_day``, or what they say.
"""

import sqlite3

from shared.chain import Settle
from teacher_service.metering.ledger import (
    DAY_MS,
    MIN_REPLAYS_A_DAY,
    REPLAYS_A_DAY_PER_QUERY,
    DayUsage,
    utc_day,
)
from teacher_service.metering.refusals import too_many_replays
from teacher_service.metering.sqlite.transactions.accounts import AccountRow


def count_usage(db: sqlite3.Connection, key_no: int, event: Settle) -> None:
    """Add a settle event to its day."""
    db.execute(
        "INSERT INTO usage_by_day VALUES (?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + 1,"
        " charged = charged + excluded.charged, replayed = replayed + excluded.replayed",
        (key_no, event.at_ms // DAY_MS, event.charged, event.replayed),
    )


def check_replays(db: sqlite3.Connection, key: AccountRow, replays: int, now_ms: int) -> None:
    """Each replay is a record, and free: what one key may add in a day is bounded. Raises TooManyReplays."""
    if replays == 0:
        return
    limit = max(MIN_REPLAYS_A_DAY, REPLAYS_A_DAY_PER_QUERY * key.budget)
    dated_ms = max(now_ms, key.window_start_ms)  # as their record will be, where the clock was set back
    today = db.execute(
        "SELECT replayed FROM usage_by_day WHERE key_no = ? AND day = ?", (key.key_no, dated_ms // DAY_MS)
    ).fetchone()
    if (today[0] if today else 0) + replays > limit:
        raise too_many_replays(key.key_id, limit, now_ms, dated_ms)


def usage_by_day(db: sqlite3.Connection, key_no: int) -> list[DayUsage]:
    """Oldest day first."""
    rows = db.execute(
        "SELECT day, requests, charged, replayed FROM usage_by_day WHERE key_no = ? ORDER BY day", (key_no,)
    )
    return [DayUsage(utc_day(day * DAY_MS), *counts) for day, *counts in rows]
