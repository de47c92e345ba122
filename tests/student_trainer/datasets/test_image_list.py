"""Image lists: one path a line, from the list's own folder."""

from pathlib import Path

import pytest

from student_trainer.datasets.image_list import read_image_list
from student_trainer.errors import InvalidInput


def test_paths_count_from_the_list_and_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("\ufeffb/é.jpg\r\n\n  a.jpg \n/abs/c.jpg\na.jpg".encode())
    paths = [entry.path for entry in read_image_list(tmp_path / "list.txt")]
    assert paths == [tmp_path / "b" / "é.jpg", tmp_path / "a.jpg", Path("/abs/c.jpg"), tmp_path / "a.jpg"]


@pytest.mark.parametrize("beside", ["images", "jpg"])
def test_paths_below_a_folder_of_images_beside_the_list_are_found(tmp_path: Path, beside: str) -> None:
    (tmp_path / beside / "0").mkdir(parents=True)
    (tmp_path / beside / "0" / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    (tmp_path / beside / "b.jpg").touch()
    (tmp_path / "list.txt").write_text("0/a.jpg\nb.jpg\nnowhere.jpg\n")
    paths = [entry.path for entry in read_image_list(tmp_path / "list.txt")]
    assert paths == [tmp_path / beside / "0" / "a.jpg", tmp_path / "b.jpg", tmp_path / "nowhere.jpg"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "lists no images"),
        (b"\n  \n", "lists no images"),
        (b"a\xff.jpg\n", "is no text in UTF-8, from byte 1 on"),
        (b"a\x00b\n", "holds zero bytes"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InvalidInput, match=complaint):
        read_image_list(tmp_path / "list.txt")


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"list\.txt cannot be read: No such file"):
        read_image_list(tmp_path / "list.txt")
