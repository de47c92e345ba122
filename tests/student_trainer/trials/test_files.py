"""What trials leave is whole or not there, in a folder that is made for it."""

from pathlib import Path

import pytest
from full_disk import disk_full_at

from student_trainer.errors import StorageFailed
from student_trainer.trials.files import write_whole


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "here", "text")
    assert (tmp_path / "a" / "b" / "here").read_text() == "text"


def test_a_file_that_cannot_be_written_leaves_the_older_one_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "here"
    write_whole(path, "older")
    with (
        disk_full_at(1_000),
        pytest.raises(StorageFailed, match=r"here cannot be .* older file is unchanged"),
    ):
        write_whole(path, b"a" * 5_000)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed, match="file/here cannot be written"):
        write_whole(tmp_path / "file" / "here", "text")
