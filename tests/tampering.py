"""Editing the file of a ledger as its owner could, whatever the schema forbids.

In: the file, and SQL. Out: a changed file.
"""

import sqlite3
from pathlib import Path


def tamper(path: Path, *statements: str) -> None:
    """Run statements with the guards removed."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DROP TRIGGER IF EXISTS events_are_never_changed")
    db.execute("DROP TRIGGER IF EXISTS events_are_never_deleted")
    db.execute("PRAGMA ignore_check_constraints = ON")
    for statement in statements:
        db.execute(statement)
    db.close()
