"""The SQLite file of a ledger: connections with the settings that durability rests on, and its schema.

In: a path. Out: connections in autocommit mode. Settings: write-ahead log, ``synchronous=FULL`` (each
commit reaches the disk before it is acknowledged), foreign keys checked.
"""

import os
import sqlite3
from importlib.resources import files
from pathlib import Path

from teacher_service.metering.ledger import LedgerUnavailable

APPLICATION_ID = 0x7274_6E31
"""Marks our files in SQLite's header ("rtn1")."""
SCHEMA_VERSION = 2
OLDEST_SQLITE = (3, 37, 0)
"""The first with STRICT tables."""

_WAL_BYTES_KEPT = 64 * 2**20


def connect(path: Path, *, busy_timeout_ms: int, read_only: bool = False) -> sqlite3.Connection:
    """A connection that any one thread at a time may use.

    Args:
        path: the file; it is not created.
        busy_timeout_ms: how long a statement waits for a lock that another connection holds.
        read_only: refuse writes on this connection.
    """
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
        timeout=busy_timeout_ms / 1000,
    )
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
    if read_only:
        db.execute("PRAGMA query_only = ON")
    return db


def prepare(path: Path, busy_timeout_ms: int) -> None:
    """Create the file and its tables where they are missing; refuse a file that is not ours.

    Raises:
        LedgerUnavailable: a foreign or newer file, a damaged one, or a folder that cannot be written.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise LedgerUnavailable(f"SQLite {sqlite3.sqlite_version} is too old; {needed} is needed.")
    try:
        _create_file(path)
        db = connect(path, busy_timeout_ms=busy_timeout_ms)
        try:
            _install_schema(db, path)
        finally:
            db.close()
    except (OSError, sqlite3.Error) as error:
        raise LedgerUnavailable(
            f"The ledger {path} cannot be opened ({error}). "
            "Check that the file is whole and the folder writable."
        ) from None


def faults(db: sqlite3.Connection) -> list[str]:
    """What SQLite itself finds wrong: damaged pages, values that break a CHECK, rows that hang on nothing."""
    try:
        damage = [text for (text,) in db.execute("PRAGMA quick_check") if text != "ok"]
        orphans = db.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.OperationalError:  # locked, or the disk is gone: not known to be wrong
        raise
    except sqlite3.DatabaseError as error:  # too damaged to be walked through at all
        return [f"SQLite: {error}."]
    found = [f"SQLite's quick_check: {text}." for text in damage]
    return found + [f"A row of table {child} hangs on no row of {parent}." for child, _, parent, _ in orphans]


def _create_file(path: Path) -> None:
    """An empty file that only its owner may read: it holds salted hashes of API keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _install_schema(db: sqlite3.Connection, path: Path) -> None:
    if _is_current(db, path):
        return
    ((mode,),) = db.execute("PRAGMA journal_mode = WAL").fetchall()
    if mode != "wal":
        raise sqlite3.OperationalError(f"its file system allows no write-ahead log, only {mode!r}")
    db.execute("BEGIN IMMEDIATE")
    if not _is_current(db, path):  # another process may have been faster
        schema = files("teacher_service.metering.sqlite").joinpath("schema.sql").read_text("utf-8")
        for statement in _statements(schema):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")


def _is_current(db: sqlite3.Connection, path: Path) -> bool:
    """True for our schema, False for an empty file. Raises LedgerUnavailable for anything else."""
    ((application,),) = db.execute("PRAGMA application_id").fetchall()
    ((version,),) = db.execute("PRAGMA user_version").fetchall()
    if (application, version) == (APPLICATION_ID, SCHEMA_VERSION):
        return True
    ((tables,),) = db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    if application == APPLICATION_ID:
        raise LedgerUnavailable(
            f"The ledger {path} has schema {version}, this program knows {SCHEMA_VERSION}. "
            "Use the version of the program that wrote it: its export can be imported into a new ledger."
        )
    if tables or application or version:
        raise LedgerUnavailable(f"{path} is a database of another program. Name another file for the ledger.")
    return False


def _statements(script: str) -> list[str]:
    """Single statements of a script; sqlite3's executescript would commit in between."""
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
