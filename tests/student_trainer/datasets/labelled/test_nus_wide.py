"""NUS-WIDE: several labels an image, of the concepts that are frequent, and lists that belong together."""

from collections.abc import Callable
from pathlib import Path

import pytest
from made_datasets import CONCEPTS, make_nus_wide, write_lines

from student_trainer.datasets.labelled.opening import open_labelled
from student_trainer.errors import InvalidInput

TRUTH = Path("Groundtruth") / "AllLabels"


def test_images_have_the_frequent_concepts_that_they_show(tmp_path: Path) -> None:
    folder = make_nus_wide(tmp_path)
    test = open_labelled("nus-wide", tmp_path, "test")
    by_name = {entry.path.name: entry.label for entry in test.entries}
    assert by_name["0002_2124494181.jpg"] == (CONCEPTS[2], CONCEPTS[3])
    assert by_name["0001_2124494180.jpg"] == (CONCEPTS[2],)
    assert test.paths[0] == folder / "Flickr" / CONCEPTS[1] / "0001_2124494180.jpg"
    assert {name for label in by_name.values() for name in label} == set(CONCEPTS[2:])
    # Every fifth shows nothing, and the first only what is rare.
    assert "0004_2124494183.jpg" not in by_name
    assert "0000_2124494179.jpg" not in by_name
    assert all(path.is_file() for path in test.paths)


def test_queries_database_and_training_images_fit_together(tmp_path: Path) -> None:
    make_nus_wide(tmp_path, images=230)
    train, test, database = (
        open_labelled("nus-wide", tmp_path, split) for split in ("train", "test", "database")
    )
    asking = {entry.path for entry in test.entries if entry.is_query}
    assert asking and set(database.paths) == set(test.paths) - asking
    assert train.entries and set(train.paths) < set(database.paths)


def change(file: Path, lines: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    return lambda folder: write_lines(folder / file, lines((folder / file).read_text().splitlines()))


COLUMN = TRUTH / f"Labels_{CONCEPTS[5]}.txt"
LIST = Path("ImageList") / "Imagelist.txt"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (change(COLUMN, lambda lines: [*lines[:3], "2", *lines[4:]]), r"line 4: expected 0 or 1, found '2'"),
        (change(COLUMN, lambda lines: [*lines[:3], "", *lines[4:]]), r"line 4: expected 0 or 1, found ''"),
        (
            change(COLUMN, lambda lines: [*lines[:3], "1 0", *lines[4:]]),
            r"line 4: expected 0 or 1, found '1 0'",
        ),
        (
            change(COLUMN, lambda lines: [*lines[:3], "01", *lines[4:]]),
            r"line 4: expected 0 or 1, found '01'",
        ),
        (change(COLUMN, lambda lines: [*lines[:3], "-1130179", *lines[4:]]), "line 4: expected 0 or 1"),
        (
            change(COLUMN, lambda lines: lines[:-1]),
            r"has 45 lines, and ImageList/Imagelist.txt lists 46 images",
        ),
        (
            change(LIST, lambda lines: [*lines[:-1], lines[0]]),
            r"line 46: the image \S+ stands in line 1 already",
        ),
        (
            change(LIST, lambda lines: [*lines[:-1], "..\\up.jpg"]),
            r"line 46: '\.\./up\.jpg' is no path below",
        ),
        (
            lambda f: [path.unlink() for path in sorted((f / TRUTH).iterdir())[:3]],
            "ground truth of 20 concepts",
        ),
        (lambda f: (f / "Flickr").rename(f / "images"), "its images are not: there is no folder .*Flickr"),
    ],
)
def test_lists_that_cannot_be_are_refused_with_the_line(
    tmp_path: Path, spoil: Callable[[Path], object], complaint: str
) -> None:
    spoil(make_nus_wide(tmp_path))
    with pytest.raises(InvalidInput, match=complaint):
        open_labelled("nus-wide", tmp_path, "test")


def test_windows_line_ends_and_a_last_line_without_one_do_no_harm(tmp_path: Path) -> None:
    folder = make_nus_wide(tmp_path)
    before = open_labelled("nus-wide", tmp_path, "test").entries
    for file in (folder / TRUTH).iterdir():
        file.write_bytes(file.read_bytes().replace(b"\n", b" \r\n").rstrip())
    assert open_labelled("nus-wide", tmp_path, "test").entries == before
