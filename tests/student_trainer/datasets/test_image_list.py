"""Image lists: one path a line, from the list's own folder."""

from pathlib import Path

import pytest

from student_trainer.datasets.image_list import (
    find_distractors,
    listed_distractors,
    read_image_list,
    set_of_distractors,
)
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


def test_distractors_are_those_of_the_public_list_or_all_of_a_folder(tmp_path: Path) -> None:
    """A file that the public list does not name is no distractor."""
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "jpg").mkdir(exist_ok=True)
        (tmp_path / "jpg" / name).touch()
    both = [tmp_path / "jpg" / "a.jpg", tmp_path / "jpg" / "b.jpg"]
    assert listed_distractors(tmp_path) is None
    assert find_distractors(tmp_path) == both
    (tmp_path / "revisitop1m.txt").write_text("b.jpg\n")
    assert listed_distractors(tmp_path) == tmp_path / "revisitop1m.txt"
    assert find_distractors(tmp_path) == both[1:]
    (tmp_path / "mine.txt").write_text("a.jpg\n")
    assert find_distractors(tmp_path / "mine.txt") == both[:1]


def test_distractors_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"There is no folder .*none"):
        find_distractors(tmp_path / "none")


@pytest.mark.parametrize(
    ("where", "listed", "named"),
    [
        ("more", None, "more"),
        ("more", "revisitop1m.txt", "revisitop1m"),
        ("revisitop1m", None, "revisitop1m"),
    ],
)
def test_the_public_distractors_are_known_by_their_list_or_their_folder(
    tmp_path: Path, where: str, listed: str | None, named: str
) -> None:
    folder = tmp_path / where
    folder.mkdir()
    if listed:
        (folder / listed).write_text("a.jpg\n")
        assert set_of_distractors(folder / listed) == named
    assert set_of_distractors(folder) == named


def test_distractors_of_ones_own_list_go_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("a.jpg\n")
    assert set_of_distractors(tmp_path / "few.txt") == "few.txt"
