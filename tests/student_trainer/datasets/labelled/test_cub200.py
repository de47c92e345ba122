"""CUB-200-2011: the two lists make one, divided by classes, and a wrong line is named."""

from collections.abc import Callable
from pathlib import Path

import pytest
from made_datasets import make_cub200, write_lines

from student_trainer.datasets.labelled.opening import open_labelled
from student_trainer.errors import InvalidInput


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_first_hundred_classes_are_trained_on_and_the_others_measured(tmp_path: Path) -> None:
    folder = make_cub200(tmp_path)
    train, test = (open_labelled("cub200", tmp_path, split) for split in ("train", "test"))
    assert {entry.label for entry in train.entries} == {"001.Bird_1", "002.Bird_2", "100.Bird_100"}
    assert {entry.label for entry in test.entries} == {"101.Bird_101", "199.Bird_199", "200.Bird_200"}
    assert train.paths[5] == folder / "images" / "002.Bird_2" / "Bird_2_0001.jpg"
    assert all(path.is_file() for path in (*train.paths, *test.paths))
    assert {entry.split for entry in test.entries} == {"test"}
    assert not any(entry.is_query for entry in test.entries)


def test_the_order_is_that_of_the_image_numbers_whatever_that_of_the_lines(tmp_path: Path) -> None:
    folder = make_cub200(tmp_path)
    listed = open_labelled("cub200", tmp_path, "train").paths
    lines = (folder / "images.txt").read_text().splitlines()
    write_lines(folder / "images.txt", ["", *reversed(lines)], "\r\n")
    assert open_labelled("cub200", tmp_path, "train").paths == listed


def test_without_names_classes_go_by_their_numbers(tmp_path: Path) -> None:
    (make_cub200(tmp_path) / "classes.txt").unlink()
    assert open_labelled("cub200", tmp_path, "train").entries[0].label == "001"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda f: replaced(f / "images.txt", "3 001", "3"), r"images.txt, line 3: expected 'image_id path'"),
        (lambda f: replaced(f / "images.txt", "3 001", "x 001"), r"images.txt, line 3: 'x' is no image id"),
        (
            lambda f: replaced(f / "images.txt", "3 001", "2 001"),
            "line 3: image id 2 stands in line 2 already",
        ),
        (
            lambda f: replaced(f / "images.txt", "0002.jpg", "0001.jpg"),
            r"line 3: the image 001\.Bird_1/Bird_1_0001\.jpg stands in line 2 already",
        ),
        (
            lambda f: replaced(f / "images.txt", "001.Bird_1", "../.."),
            r"line 1: '\.\./\.\./Bird_1_0000\.jpg' is no path below the folder of images",
        ),
        (
            lambda f: replaced(f / "image_class_labels.txt", "24 200", "24 201"),
            "line 24: '201' is no class id",
        ),
        (
            lambda f: replaced(f / "image_class_labels.txt", "24 200", "24 0"),
            "line 24: '0' is no class id from 1",
        ),
        (lambda f: replaced(f / "image_class_labels.txt", "24 200", "24 -5"), "line 24: '-5' is no class id"),
        (
            lambda f: replaced(f / "image_class_labels.txt", "24 200\n", ""),
            r"1 of 24 images are not in image_class_labels\.txt, the first is number 24 \(line 24\)",
        ),
        (
            lambda f: replaced(f / "images.txt", "24 200.Bird_200/Bird_200_0003.jpg\n", ""),
            r"image_class_labels\.txt: 1 of 24 images are not in images\.txt",
        ),
        (lambda f: (f / "images.txt").unlink(), r"images\.txt cannot be read: No such file"),
        (
            lambda f: (f / "images.txt").write_bytes(b"1 \xff"),
            r"images\.txt is no text in UTF-8, from byte 2 on",
        ),
    ],
)
def test_lists_that_cannot_be_are_refused_with_the_line(
    tmp_path: Path, spoil: Callable[[Path], object], complaint: str
) -> None:
    spoil(make_cub200(tmp_path))
    with pytest.raises(InvalidInput, match=complaint):
        open_labelled("cub200", tmp_path, "test")
