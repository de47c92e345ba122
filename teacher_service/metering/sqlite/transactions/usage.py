"""Usage by day in SQLite: sums of the settle events, kept beside them so that they need not be read.

In: an open transaction. Out: rows of ``usage_by_day``, or what they say.
"""

import sqlite3

from shared.chain import Settle
from teacher_service.metering.ledger import DAY_MS, DayUsage, utc_day


def count_usage(db: sqlite3.Connection, key_no: int, event: Settle) -> None:
    """Add a settle event to its day."""
    db.execute(
        "INSERT INTO usage_by_day VALUES (?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + 1,"
        " charged = charged + excluded.charged, replayed = replayed + excluded.replayed",
        (key_no, event.at_ms // DAY_MS, event.charged, event.replayed),
    )


def usage_by_day(db: sqlite3.Connection, key_no: int) -> list[DayUsage]:
    """Oldest day first."""
    rows = db.execute(
        "SELECT day, requests, charged, replayed FROM usage_by_day WHERE key_no = ? ORDER BY day", (key_no,)
    )
    return [DayUsage(utc_day(day * DAY_MS), *counts) for day, *counts in rows]
