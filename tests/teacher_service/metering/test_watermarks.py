"""What was seen of the chains: it only grows, in memory and in the file."""

import sqlite3
import threading
from pathlib import Path

import pytest

from teacher_service.metering.ledger import LedgerUnavailable
from teacher_service.metering.watermarks import (
    NOTHING_SEEN,
    Mark,
    StoreRolledBack,
    Watermarks,
    marks_in,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "watermarks.sqlite"


def loaded(file: Path | None, epoch: str = "e") -> Watermarks:
    watermarks = Watermarks(file)
    watermarks.load(epoch)
    return watermarks


def test_a_key_that_was_never_seen_has_no_mark(file: Path) -> None:
    assert loaded(file).of("k") == NOTHING_SEEN == Mark(-1, "")


def test_a_mark_only_moves_forward(file: Path) -> None:
    watermarks = loaded(file)
    for seq, hash_ in ((3, "c"), (2, "b"), (3, "another"), (5, "e")):
        watermarks.saw("k", seq, hash_)
        assert watermarks.of("k").seq >= 3
        assert watermarks.of("k").hash in ("c", "e")
    assert watermarks.all() == {"k": Mark(5, "e")}


def test_what_was_saved_is_known_after_a_restart_and_what_was_not_is_not(file: Path) -> None:
    watermarks = loaded(file)
    watermarks.saw("k", 1, "a")
    watermarks.saw("l", 7, "g")
    watermarks.save()
    watermarks.saw("k", 2, "b")
    assert loaded(file).all() == {"k": Mark(1, "a"), "l": Mark(7, "g")}
    watermarks.save()
    assert loaded(file).of("k") == Mark(2, "b")


def test_a_replica_that_has_seen_less_does_not_set_the_file_back(file: Path) -> None:
    ahead, behind = loaded(file), loaded(file)
    behind.saw("k", 1, "a")
    ahead.saw("k", 9, "i")
    ahead.save()
    behind.save()
    assert loaded(file).of("k") == Mark(9, "i")


def test_another_epoch_is_another_store(file: Path) -> None:
    loaded(file, "first" * 8)
    with pytest.raises(StoreRolledBack, match=r"it is other\w*, that was first"):
        loaded(file, "other" * 8)
    loaded(file, "first" * 8)


def test_nothing_new_touches_no_file(file: Path) -> None:
    watermarks = loaded(file)
    watermarks.saw("k", 1, "a")
    watermarks.save()
    file.unlink()
    watermarks.save()
    assert not file.exists()


def test_a_save_that_fails_is_made_up_for_by_the_next(file: Path) -> None:
    watermarks = loaded(file)
    watermarks.saw("k", 1, "a")
    file.unlink()
    file.mkdir()
    with pytest.raises((OSError, sqlite3.Error)):
        watermarks.save()
    file.rmdir()
    watermarks.save()
    watermarks.load("e")
    assert watermarks.of("k") == Mark(1, "a")


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    watermarks = loaded(None)
    watermarks.saw("k", 1, "a")
    watermarks.save()
    assert watermarks.of("k") == Mark(1, "a")
    assert loaded(None).of("k") == NOTHING_SEEN
    assert list(tmp_path.iterdir()) == []
    assert "restart all replicas" in watermarks.way_out


@pytest.mark.parametrize("rubbish", [b"x" * 5000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_file_is_named_and_not_taken_for_an_empty_one(file: Path, rubbish: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(rubbish)
    with pytest.raises(LedgerUnavailable, match=f"The watermarks in {file} cannot be used"):
        loaded(file)
    assert file.read_bytes() == rubbish


def test_what_is_seen_while_the_file_is_written_is_saved_by_the_next_turn(file: Path) -> None:
    """Saving runs in another thread than seeing."""
    watermarks = loaded(file)
    seen = threading.Event()

    def see() -> None:
        for seq in range(3000):
            for key in range(10):
                watermarks.saw(f"{key} {seq % 50}", seq, f"{seq}")
        seen.set()

    thread = threading.Thread(target=see)
    thread.start()
    while not seen.is_set():
        watermarks.save()
    thread.join()
    watermarks.save()
    assert loaded(file).all() == watermarks.all()


def test_where_a_store_was_seen_none_may_be_made(file: Path) -> None:
    Watermarks(file).check_no_store_known()
    assert not file.exists(), "asking makes no file"
    loaded(file, "first" * 8)
    with pytest.raises(StoreRolledBack, match="it is not there, that was first"):
        Watermarks(file).check_no_store_known()
    Watermarks(None).check_no_store_known()


def test_a_file_is_counted_without_being_made_or_bound_to_a_store(file: Path) -> None:
    assert marks_in(file) == 0
    assert not file.exists()
    watermarks = loaded(file)
    watermarks.saw("k", 1, "a")
    watermarks.saw("l", 7, "g")
    watermarks.save()
    assert marks_in(file) == 2
    file.write_bytes(b"no database" * 100)
    with pytest.raises(LedgerUnavailable, match="cannot be used"):
        marks_in(file)
