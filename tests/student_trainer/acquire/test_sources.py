"""Where the photographs of a plan come from: exactly one source, named in words."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from made_benchmarks import make_sfm120k, write_view
from made_datasets import make_cars196, make_cifar10, make_cub200

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
    with pytest.raises(InvalidInput, match="--sfm120k ROOT or --dataset NAME; 0 were given"):
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


@pytest.mark.parametrize(
    ("name", "split", "images", "drawn_by"),
    [
        ("cub200", None, 12, "file name"),
        ("cub200", "test", 12, "file name"),
        ("cars196", None, 12, "digest"),
        ("cifar10", "database", 110, "file name"),
    ],
)
def test_a_public_set_is_opened_by_its_name_and_drawn_by_file_names_where_they_differ(
    tmp_path: Path, name: str, split: str | None, images: int, drawn_by: str
) -> None:
    made = {
        "cub200": lambda: make_cub200(tmp_path),
        "cars196": lambda: make_cars196(tmp_path, devkit=True),
        "cifar10": lambda: make_cifar10(tmp_path),
    }[name]()
    source = open_source(dataset=name, root=tmp_path, split=split)
    assert (len(source.entries), source.drawn_by) == (images, drawn_by)
    assert all(entry.path.is_file() for entry in source.entries)
    assert source.words == f"{name} {made} (split {split or 'train'})"


def test_a_public_set_needs_a_known_name_and_the_folder_of_data_sets(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"--dataset cub20: choose from cub200, .*Did you mean 'cub200'"):
        open_source(dataset="cub20", root=tmp_path)
    with pytest.raises(InvalidInput, match="--dataset cub200: give the folder of data sets with --root DIR"):
        open_source(dataset="cub200")
    with pytest.raises(InvalidInput, match="say with --dataset NAME which of them"):
        open_source(images=tmp_path, root=tmp_path)
