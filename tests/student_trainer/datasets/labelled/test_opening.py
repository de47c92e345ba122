"""Public sets by their names: found where archives unpack them, and told apart from what was published."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_datasets import make_cars196, make_cifar10, make_cub200, make_nus_wide, make_online_products

from student_trainer.datasets.labelled.catalogue import LABELLED, find_labelled
from student_trainer.datasets.labelled.opening import open_labelled
from student_trainer.errors import InvalidInput

MAKERS: dict[str, Callable[[Path], Path]] = {
    "cub200": make_cub200,
    "cars196": make_cars196,
    "online-products": make_online_products,
    "cifar10": make_cifar10,
    "nus-wide": make_nus_wide,
}


@pytest.mark.parametrize("name", LABELLED)
def test_a_set_is_found_where_its_archive_unpacks_or_a_user_puts_it(tmp_path: Path, name: str) -> None:
    made = MAKERS[name](tmp_path / "train")
    assert find_labelled(tmp_path, name) == made == find_labelled(made, name)
    moved = tmp_path / name
    made.rename(moved)
    assert find_labelled(tmp_path, name) == moved


@pytest.mark.parametrize("name", LABELLED)
def test_a_set_that_is_not_there_is_told_with_what_to_download(tmp_path: Path, name: str) -> None:
    known = LABELLED[name]
    with pytest.raises(InvalidInput) as refusal:
        open_labelled(name, tmp_path, "train")
    parts = (known.title, known.holds, known.layout, known.folders[0], *known.index_files, *known.download)
    assert all(part in str(refusal.value) for part in parts)
    assert "Nothing is downloaded for you" in str(refusal.value)


@pytest.mark.parametrize("name", LABELLED)
def test_every_split_opens_and_says_how_it_differs_from_the_published_one(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    MAKERS[name](tmp_path)
    for split, public in LABELLED[name].splits.items():
        found = open_labelled(name, tmp_path, split)
        assert found.entries and all(entry.label and entry.split == split for entry in found.entries)
        differs = f"was published with {public.in_words()}; here are {found.counts.in_words()}."
        assert f"{name}, split {split}, {differs}" in capsys.readouterr().err


def test_the_published_numbers_add_up() -> None:
    whole = {"cub200": 11_788, "cars196": 16_185, "online-products": 120_053}
    for name, images in whole.items():
        splits = LABELLED[name].splits.values()
        assert sum(split.images for split in splits) == images
        assert sum(split.classes for split in splits) == LABELLED[name].classes
    for name in ("cifar10", "nus-wide"):
        splits = LABELLED[name].splits
        assert splits["database"].images == splits["test"].images - splits["test"].queries
        assert splits["train"].images == 500 * splits["train"].classes == 5 * splits["test"].queries


def test_lists_without_their_images_are_refused_with_the_archive(tmp_path: Path) -> None:
    shutil.rmtree(make_cub200(tmp_path) / "images")
    with pytest.raises(
        InvalidInput, match=r"lists of cub200 are there, but its images are not.*CUB_200_2011\.tgz"
    ):
        open_labelled("cub200", tmp_path, "train")


def test_a_split_that_the_set_has_not_is_refused_before_anything_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cub200 has no split 'database'; choose from: train, test"):
        open_labelled("cub200", tmp_path / "none", "database")


def test_a_split_without_images_is_refused(tmp_path: Path) -> None:
    make_cub200(tmp_path, classes=(1, 2))
    with pytest.raises(InvalidInput, match=r"cub200, split test: .* lists no images of it"):
        open_labelled("cub200", tmp_path, "test")
