"""The SQLite file under a transfer set: its schema, its transactions, and what its faults mean.

In: a path. Out: a connection whose commits survive a power cut, and errors of our own kind.

One file holds everything: a rollback journal instead of WAL, because a WAL file left by a killed process
is lost when somebody copies only the main file. ``synchronous=EXTRA`` is FULL and also makes the
deletion of that journal durable.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from student_trainer.errors import InvalidInput, StorageFailed

APPLICATION_ID = 0x52544E31
SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 30.0

_SCHEMA = """
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,           -- 'plan' or 'teacher'
    value TEXT NOT NULL               -- JSON
) STRICT;
CREATE TABLE images (                 -- every distinct image that the plan could choose from
    digest   TEXT PRIMARY KEY,        -- SHA-256 of the file
    path     TEXT NOT NULL,
    format   TEXT NOT NULL,
    bytes    INTEGER NOT NULL,
    width    INTEGER NOT NULL,
    height   INTEGER NOT NULL,
    position INTEGER UNIQUE,          -- order of choice; NULL: not chosen
    refused  TEXT                     -- why the teacher refused it; such an image costs nothing
) STRICT;
CREATE TABLE requests (               -- written before the first send, so that a retry is identical
    id              INTEGER PRIMARY KEY,
    idempotency_key TEXT NOT NULL UNIQUE,
    receipt_seq     INTEGER REFERENCES receipts (seq)   -- NULL: not answered yet
) STRICT;
CREATE TABLE request_images (
    request_id INTEGER NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    rank       INTEGER NOT NULL,
    digest     TEXT NOT NULL UNIQUE REFERENCES images (digest),
    PRIMARY KEY (request_id, rank)
) STRICT;
CREATE TABLE receipts (
    seq      INTEGER PRIMARY KEY,     -- record of the teacher's ledger
    document TEXT NOT NULL            -- the signed receipt, JSON
) STRICT;
CREATE TABLE descriptors (
    digest      TEXT PRIMARY KEY REFERENCES images (digest),
    vector      BLOB NOT NULL,        -- float32, little-endian
    receipt_seq INTEGER NOT NULL REFERENCES receipts (seq)
) STRICT;
CREATE VIEW chosen AS                 -- what is to be bought, with its descriptor where it is held
    SELECT images.*, vector, receipt_seq FROM images LEFT JOIN descriptors USING (digest)
    WHERE position IS NOT NULL AND refused IS NULL;
"""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into errors that say what is safe."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageFailed(
            f"{path} cannot be written or read ({error}). What was committed before is safe; make room "
            "on the disk or end the other program, then run the same command again: nothing is paid twice."
        ) from None
    except sqlite3.DatabaseError as error:
        raise StorageFailed(
            f"{path} is damaged ({error}). Restore it from a copy. Without one, plan a new run folder and "
            "fetch with the same key: a key that is billed per distinct image pays for none of them again."
        ) from None
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written or read: {error}.") from None


def create(path: Path) -> sqlite3.Connection:
    """A new, empty file with the schema; an older file at ``path`` is overwritten.

    Raises:
        StorageFailed: it cannot be written.
    """
    with storage_errors(path):
        path.unlink(missing_ok=True)
        with _connected(path) as connection:
            connection.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
                f"{_SCHEMA} COMMIT;"
            )
        return connection


def open_existing(path: Path) -> sqlite3.Connection:
    """Open a file that :func:`create` made, and check that it is whole.

    Raises:
        InvalidInput: no such file, another kind of file, or another schema version.
        StorageFailed: it cannot be read, or is damaged.
    """
    if not path.is_file():
        raise InvalidInput(f"There is no transfer set {path}. Make one with: student-trainer plan")
    with storage_errors(path):
        with _connected(path) as connection:
            _check_kind(connection, path)
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
        return connection


def publish(temporary: Path, path: Path) -> None:
    """Move a closed file to its final name, durably: readers see the old one or the new one."""
    with storage_errors(path):
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All statements inside are committed durably together, or none is.

    Raises:
        StorageFailed: the disk is full, the file is damaged or locked.
    """
    with storage_errors(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled back already; then there is nothing to undo.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for the caller to close, which is closed here if what is done within fails."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection
    except BaseException:
        connection.close()
        raise


def _check_kind(connection: sqlite3.Connection, path: Path) -> None:
    kind = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if kind != APPLICATION_ID:
        raise InvalidInput(f"{path} is a database, but not a transfer set.")
    if version != SCHEMA_VERSION:
        raise InvalidInput(
            f"{path} has schema version {version}; this program reads version {SCHEMA_VERSION}. "
            "Use the version of student-trainer that wrote it, or a newer one."
        )
