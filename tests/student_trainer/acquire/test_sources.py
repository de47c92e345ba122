"""Where the photographs of a plan come from: exactly one source, named in words."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from made_benchmarks import make_sfm120k, write_view

from student_trainer.acquire.sources import open_source
from student_trainer.errors import InvalidInput


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Path]:
    """One of each source, of 3 images, or 24 of SfM-120k."""
    for view in range(3):
        write_view(tmp_path / "images" / f"{view}.jpg", 0, 0, view)
    lines = [f"images/{view}.jpg" for view in range(3)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    (tmp_path / "manifest.csv").write_text("\n".join(["path,split", *(f"{line},train" for line in lines)]))
    return {
        "images": tmp_path / "images",
        "manifest": tmp_path / "manifest.csv",
        "image_list": tmp_path / "list.txt",
        "sfm120k": make_sfm120k(tmp_path),
    }


@pytest.mark.parametrize(
    ("option", "split", "images", "words", "drawn_by"),
    [
        ("images", None, 3, "folder {}", "digest"),
        ("image_list", None, 3, "image list {}", "digest"),
        ("manifest", None, 3, "manifest {}", "digest"),
        ("manifest", "train", 3, "manifest {} (split train)", "digest"),
        ("sfm120k", None, 24, "SfM-120k {} (split train)", "file name"),
        ("sfm120k", "val", 8, "SfM-120k {} (split val)", "file name"),
    ],
)
def test_each_source_lists_its_photographs(
    given: dict[str, Path], option: str, split: str | None, images: int, words: str, drawn_by: str
) -> None:
    options: dict[str, Any] = {option: given[option], "split": split}
    source = open_source(**options)
    assert (len(source.entries), source.drawn_by) == (images, drawn_by)
    assert all(entry.path.is_file() for entry in source.entries)
    assert source.words == words.format(given[option])


def test_no_source_and_two_sources_are_refused(given: dict[str, Path]) -> None:
    with pytest.raises(InvalidInput, match="--image-list FILE or --sfm120k ROOT; 0 were given"):
        open_source()
    with pytest.raises(InvalidInput, match="2 were given"):
        open_source(images=given["images"], sfm120k=given["sfm120k"])


def test_the_public_training_set_without_its_images_is_refused_with_the_archive(
    given: dict[str, Path],
) -> None:
    shutil.rmtree(given["sfm120k"] / "ims")
    with pytest.raises(InvalidInput, match=r"no folder .*/ims\. Get the archive ims of the training images"):
        open_source(sfm120k=given["sfm120k"])


@pytest.mark.parametrize("option", ["images", "image_list"])
def test_a_split_of_what_has_none_is_refused(given: dict[str, Path], option: str) -> None:
    options: dict[str, Any] = {option: given[option], "split": "train"}
    with pytest.raises(InvalidInput, match="a folder or a list has no splits"):
        open_source(**options)
