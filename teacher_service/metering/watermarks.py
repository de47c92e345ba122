"""What this service has seen of the chains, so that a store which is older than that is never served from.

In: chain ends, as the store's answers tell them. Out: the last (sequence, hash) seen of each key, also
after a restart. A store that was put back to an older file or snapshot, or failed over to a replica that
lagged behind, would hand spent budget out again; its chains end before what was seen, or go on differently.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from teacher_service.metering.ledger import LedgerUnavailable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS store (id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS seen (key_id TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
"""
_SAVE = (
    "INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq, hash = excluded.hash"
    " WHERE excluded.seq > seen.seq"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A record that a chain is known to hold."""

    seq: int
    hash: str


NOTHING_SEEN = Mark(-1, "")


def marks_in(file: Path) -> int:
    """How many keys a file has a record of; looking makes none. Raises LedgerUnavailable."""
    if not file.exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as db:
            ((marks,),) = db.execute("SELECT count(*) FROM seen").fetchall()
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"The watermarks in {file} cannot be used ({error}).") from None
    return int(marks)


class StoreRolledBack(LedgerUnavailable):
    """The store lacks records that this service has seen."""


class Watermarks:
    """The marks in memory, and in a file if there is one; replicas may share the file.

    A mark is only ever of a record that is durable in the store, so that it may be saved at any later time.

    Args:
        file: a small SQLite database, made if missing; None to remember nothing over a restart.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._marks: dict[str, Mark] = {}
        self._unsaved: set[str] = set()
        self._lock = threading.Lock()
        """Saving runs beside the event loop that sees."""

    @property
    def kept(self) -> bool:
        """Whether they outlive this process."""
        return self._file is not None

    def check_no_store_known(self) -> None:
        """A store is about to be made: none may have been there before.

        Raises:
            StoreRolledBack: the file is of a store that is gone.
            LedgerUnavailable: the file cannot be used.
        """
        if self._file is not None and self._file.exists():
            self.load("")

    def load(self, epoch: str) -> None:
        """Read the file, which must be of the store with this epoch.

        Raises:
            StoreRolledBack: it is of another store: that one was emptied or replaced.
            LedgerUnavailable: the file cannot be used.
        """
        if self._file is None:
            return
        try:
            with self._connected(self._file) as db:
                if epoch:
                    db.execute("INSERT INTO store VALUES (1, ?) ON CONFLICT DO NOTHING", (epoch,))
                known = next((name for (name,) in db.execute("SELECT epoch FROM store")), epoch)
                marks = db.execute("SELECT key_id, seq, hash FROM seen").fetchall()
        except (OSError, sqlite3.Error) as error:
            raise LedgerUnavailable(f"The watermarks in {self._file} cannot be used ({error}).") from None
        if known != epoch:
            raise StoreRolledBack(
                f"This ledger is not the one that {self._file} remembers (it is {epoch[:8] or 'not there'}, "
                f"that was {known[:8]}): it was emptied, moved or replaced. {self.way_out} A ledger that is "
                "another one on purpose needs a data folder of its own: name it with --data-dir."
            )
        self._marks = {key_id: Mark(seq, hash_) for key_id, seq, hash_ in marks}

    def refresh(self) -> None:
        """Take over what others that share the file have seen since. Blocks. Raises LedgerUnavailable."""
        if self._file is None:
            return
        try:
            with self._connected(self._file) as db:
                seen = db.execute("SELECT key_id, seq, hash FROM seen").fetchall()
        except (OSError, sqlite3.Error) as error:
            raise LedgerUnavailable(f"The watermarks in {self._file} cannot be used ({error}).") from None
        with self._lock:
            for key_id, seq, hash_ in seen:
                if seq > self.of(key_id).seq:
                    self._marks[key_id] = Mark(seq, hash_)

    def of(self, key_id: str) -> Mark:
        """The last record seen of a key."""
        return self._marks.get(key_id, NOTHING_SEEN)

    def all(self) -> dict[str, Mark]:
        """Every mark."""
        return dict(self._marks)

    def saw(self, key_id: str, seq: int, hash_: str) -> None:
        """The store was seen to hold this record."""
        if seq > self.of(key_id).seq:
            with self._lock:
                self._marks[key_id] = Mark(seq, hash_)
                self._unsaved.add(key_id)

    def save(self) -> None:
        """Write what is new to the file. Blocks; raises OSError or sqlite3.Error."""
        if self._file is None or not self._unsaved:
            return
        with self._lock:
            unsaved, self._unsaved = self._unsaved, set()
            rows = [(key_id, self._marks[key_id].seq, self._marks[key_id].hash) for key_id in unsaved]
        try:
            with self._connected(self._file) as db:
                db.executemany(_SAVE, rows)
        except (OSError, sqlite3.Error):
            with self._lock:
                self._unsaved |= unsaved
            raise

    def rolled_back(self, key_id: str) -> StoreRolledBack:
        """The store was found to lack the record of a key that was seen."""
        return StoreRolledBack(
            f"The ledger was rolled back: record {self.of(key_id).seq} of key {key_id} was seen and is gone. "
            f"Nothing is served. {self.way_out}"
        )

    @property
    def way_out(self) -> str:
        """What an operator can do about a store that was rolled back."""
        accept = (
            "restart all replicas"
            if self._file is None
            else f"stop all replicas, remove {self._file} from each, and start them again"
        )
        return (
            "Put the store's newest files back and restart this service. If what was spent since shall be "
            f"given out once more, {accept}."
        )

    @staticmethod
    @contextlib.contextmanager
    def _connected(file: Path) -> Iterator[sqlite3.Connection]:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # it lists who has keys
        db = sqlite3.connect(file, timeout=5)
        try:
            db.executescript(_SCHEMA)
            with db:
                yield db
        finally:
            db.close()
