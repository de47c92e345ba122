"""The transfer set's file: created whole, opened only if whole, never losing what was bought."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from shared.vectors import encode_rows
from student_trainer.acquire.records import EarlierChoice, PlanFacts, PlannedImage, Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import InvalidInput, StorageFailed

FACTS = PlanFacts("random", 7, "folder /photographs")
TEACHER = Teacher("http://127.0.0.1:1", "k1", "distinct", "ab" * 32, "cd" * 32, "teacher", 4, True)


def image(n: int) -> PlannedImage:
    return PlannedImage(f"{n:064x}", Path(f"/photographs/{n}.jpg"), "JPEG", 100 + n, 30, 20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "transfer_set.sqlite"
    TransferSet.create(path, FACTS, chosen=[image(3), image(1), image(2)], others=[image(9)])
    return path


def hold(transfer_set: TransferSet, n: int, vector: np.ndarray | bytes) -> None:
    """Store a descriptor as a fetch would, under a receipt that is not looked at here."""
    blob = vector if isinstance(vector, bytes) else encode_rows(vector)
    with transfer_set.transaction():
        transfer_set.connection.execute("INSERT OR IGNORE INTO receipts VALUES (1, '{}')")
        transfer_set.connection.execute("INSERT INTO descriptors VALUES (?, ?, 1)", (image(n).digest, blob))


def test_how_images_were_chosen_is_kept_in_full_and_read_from_older_files(path: Path) -> None:
    earlier = (EarlierChoice("random", 7, "", 3), EarlierChoice("density", 1, "a network", 2))
    facts = PlanFacts("k-center", 1, "folder /photographs", "a network", True, earlier)
    with TransferSet.open(path) as transfer_set:
        transfer_set.replan(facts, [], [])
        assert transfer_set.facts == facts
        with transfer_set.transaction():
            older = json.dumps({"strategy": "random", "seed": 7, "source": "folder /photographs"})
            transfer_set.connection.execute("UPDATE facts SET value = ? WHERE name = 'plan'", (older,))
        assert transfer_set.facts == FACTS


def test_the_choice_keeps_its_order_and_the_plan_its_facts(path: Path) -> None:
    with TransferSet.open(path) as transfer_set:
        assert transfer_set.facts == FACTS
        assert transfer_set.chosen() == [image(3), image(1), image(2)]
        assert transfer_set.teacher is None
        summary = transfer_set.summary()
    assert (summary.candidates, summary.chosen, summary.missing, summary.bought) == (4, 3, 3, 0)
    assert summary.bytes_missing == 103 + 101 + 102
    assert not summary.complete


def test_what_was_bought_comes_in_the_order_of_choice_and_a_partial_set_can_be_used(path: Path) -> None:
    first, second = np.eye(4, dtype=np.float32)[:2]
    with TransferSet.open(path) as transfer_set:
        transfer_set.set_teacher(TEACHER)
        hold(transfer_set, 2, second)
        hold(transfer_set, 3, first)
        bought = transfer_set.bought()
    assert bought.paths == [image(3).path, image(2).path]
    assert bought.images == [image(3).digest, image(2).digest]
    assert bought.vectors.dtype == np.float32
    assert (bought.vectors == np.stack([first, second])).all()
    assert bought.teacher_revision == TEACHER.revision


def test_before_the_first_fetch_nothing_is_bought(path: Path) -> None:
    with TransferSet.open(path) as transfer_set:
        assert transfer_set.bought().vectors.shape == (0, 1)
        transfer_set.set_teacher(TEACHER)
        assert transfer_set.bought().vectors.shape == (0, 4)
        assert transfer_set.teacher == TEACHER


def test_planning_again_keeps_the_choice_and_drops_only_what_is_gone_and_not_held(path: Path) -> None:
    moved = PlannedImage(image(1).digest, Path("/elsewhere/1.jpg"), "JPEG", 101, 30, 20)
    with TransferSet.open(path) as transfer_set:
        transfer_set.set_teacher(TEACHER)
        hold(transfer_set, 3, np.eye(4, dtype=np.float32)[0])
        # Image 3 is bought and gone, image 2 is gone, image 1 has moved, image 5 is new.
        transfer_set.replan(FACTS, [moved, image(9), image(5)], [image(3), moved, image(9)])
        assert transfer_set.chosen() == [image(3), moved, image(9)]
        assert transfer_set.rows("SELECT count(*) FROM images")[0][0] == 4


def test_a_refused_image_is_not_counted_as_chosen(path: Path) -> None:
    with TransferSet.open(path) as transfer_set:
        with transfer_set.transaction():
            transfer_set.connection.execute(
                "UPDATE images SET refused = 'not an image' WHERE digest = ?", (image(1).digest,)
            )
        summary = transfer_set.summary()
        assert (summary.chosen, summary.refused, summary.missing) == (2, 1, 2)
        assert transfer_set.refusals() == {image(1).path: "not an image"}
        others = [planned for planned in transfer_set.chosen() if planned != image(1)]
        transfer_set.replan(FACTS, [*others, image(1), image(9)], [*others, image(9)])
        assert (transfer_set.summary().chosen, transfer_set.refusals()) == (3, {})
        assert transfer_set.refused_digests() == {image(1).digest}


def test_a_transaction_that_fails_leaves_nothing_behind(path: Path) -> None:
    with TransferSet.open(path) as transfer_set:
        with pytest.raises(ZeroDivisionError), transfer_set.transaction():
            transfer_set.add_images([image(4)], chosen=True)
            raise ZeroDivisionError
        assert len(transfer_set.chosen()) == 3


def test_creating_again_replaces_the_file_as_a_whole(path: Path) -> None:
    TransferSet.create(path, FACTS, chosen=[image(8)])
    with TransferSet.open(path) as transfer_set:
        assert transfer_set.chosen() == [image(8)]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_missing_file_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="student-trainer plan"):
        TransferSet.open(tmp_path / "none.sqlite")


def test_a_file_of_a_later_schema_is_refused_with_both_versions(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(InvalidInput, match="schema version 99; this program reads version 1"):
        TransferSet.open(path)


def test_another_database_is_not_taken_for_a_transfer_set(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE x (y)")
    connection.close()
    with pytest.raises(InvalidInput, match="not a transfer set"):
        TransferSet.open(other)


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "transfer_set.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StorageFailed, match="is damaged"):
        TransferSet.open(path)


def test_a_file_with_a_page_overwritten_is_damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xa5" * 4096
    path.write_bytes(data)
    with pytest.raises(StorageFailed, match="is damaged"):
        TransferSet.open(path)


def test_a_descriptor_of_the_wrong_size_is_damage(path: Path) -> None:
    with TransferSet.open(path) as transfer_set:
        transfer_set.set_teacher(TEACHER)
        hold(transfer_set, 1, b"\0" * 12)
        with pytest.raises(StorageFailed, match=r"1\.jpg has 12 bytes, expected 16"):
            transfer_set.bought()


def test_a_receipt_that_cannot_be_read_is_damage(path: Path) -> None:
    with TransferSet.open(path) as transfer_set:
        with transfer_set.transaction():
            transfer_set.connection.execute("INSERT INTO receipts VALUES (1, ?)", (json.dumps({"body": {}}),))
        with pytest.raises(StorageFailed, match="a receipt cannot be read"):
            transfer_set.receipts()


def test_a_full_disk_is_a_storage_error_and_what_was_committed_stays(path: Path) -> None:
    with TransferSet.open(path) as transfer_set:
        pages = transfer_set.rows("PRAGMA page_count")[0][0]
        transfer_set.connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageFailed, match=r"full.*run the same command again"):
            hold(transfer_set, 1, b"\0" * 1_000_000)
    with TransferSet.open(path) as transfer_set:
        assert transfer_set.summary().bought == 0
        hold(transfer_set, 1, b"\0" * 1_000_000)
