"""A file that cannot be made or opened is not held open."""

import sqlite3
from pathlib import Path

import pytest

from student_trainer.acquire import store
from student_trainer.errors import InvalidInput, StorageFailed


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """All that are opened."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def noting(*args: object, **options: object) -> sqlite3.Connection:
        opened.append(connect(*args, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", noting)
    return opened


def is_closed(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


def test_what_is_made_and_opened_is_the_callers_to_close(
    tmp_path: Path, connections: list[sqlite3.Connection]
) -> None:
    path = tmp_path / "set.sqlite"
    store.create(path).close()
    opened = store.open_existing(path)
    assert connections[1] is opened and not is_closed(opened)
    opened.close()


def test_a_connection_is_closed_when_the_schema_fails(
    tmp_path: Path, connections: list[sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_SCHEMA", "CREATE TABLE facts (name NO SUCH TYPE) STRICT;")
    with pytest.raises(StorageFailed, match="cannot be written or read"):
        store.create(tmp_path / "set.sqlite")
    assert [is_closed(connection) for connection in connections] == [True]


def test_a_connection_is_closed_when_the_file_is_no_transfer_set(
    tmp_path: Path, connections: list[sqlite3.Connection]
) -> None:
    text, other = tmp_path / "text.sqlite", tmp_path / "other.sqlite"
    text.write_text("not a database, although it is long enough to have had a header of one: " * 9)
    with pytest.raises(StorageFailed, match="is damaged"):
        store.open_existing(text)
    other.touch()
    with pytest.raises(InvalidInput, match="is a database, but not a transfer set"):
        store.open_existing(other)
    assert [is_closed(connection) for connection in connections] == [True, True]
