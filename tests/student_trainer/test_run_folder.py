"""A run folder is there once it was asked for, or it is said why not."""

from pathlib import Path

import pytest

from student_trainer.errors import StorageFailed
from student_trainer.run_folder import RunFolder


def test_a_folder_is_made_with_those_above_it_and_one_that_is_there_is_taken(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "mine"
    for _ in range(2):
        assert RunFolder.create(root).root == root
        assert root.is_dir()


@pytest.mark.parametrize(("place", "why"), [("file", "File exists"), ("file/run", "Not a directory")])
def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path, place: str, why: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed, match=f"The run folder {tmp_path / place} cannot be made: {why}."):
        RunFolder.create(tmp_path / place)


def test_a_folder_that_may_not_be_made_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, *args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(StorageFailed, match="cannot be made: Permission denied"):
        RunFolder.create(tmp_path / "run")
