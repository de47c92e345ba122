"""Labels come from one place: a manifest, SfM-120k or a public set, of its own images or of bought ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_benchmarks import make_sfm120k
from made_datasets import make_cars196, make_cub200, make_nus_wide

from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import digest_files
from student_trainer.distil.labels import UNLABELLED
from student_trainer.distil.labels.source import LabelSource
from student_trainer.errors import InvalidInput


def bought_of(paths: list[Path]) -> TrainingData:
    vectors = np.random.default_rng(0).standard_normal((len(paths), 8)).astype(np.float32)
    return TrainingData(tuple(digest_files(paths)), teacher=vectors)


def test_a_public_set_is_read_with_its_names(tmp_path: Path) -> None:
    make_cub200(tmp_path)
    data = LabelSource(dataset="cub200", root=tmp_path, split="test").read()
    assert data.labels is not None
    assert data.labels.tolist() == [number for number in range(3) for _ in range(4)]
    assert data.label_names == ("101.Bird_101", "199.Bird_199", "200.Bird_200")


def test_bought_images_find_their_labels_among_files_of_one_name(tmp_path: Path) -> None:
    """The two folders of the devkit number their images alike."""
    folder = make_cars196(tmp_path, devkit=True)
    paths = [folder / part / f"{number:05}.jpg" for number in (1, 6) for part in ("cars_train", "cars_test")]
    data = LabelSource(dataset="cars196", root=tmp_path).add_to(bought_of(paths))
    assert data.labels is not None and data.teacher is not None
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert data.label_names == ("001 Car model 1", "098 Car model 98")


def test_of_a_public_set_only_what_was_bought_has_to_be_there(tmp_path: Path) -> None:
    folder = make_cub200(tmp_path)
    paths = sorted((folder / "images").rglob("*.jpg"))[:6]
    data = bought_of(paths)
    for path in sorted((folder / "images").rglob("*.jpg"))[6:]:
        path.unlink()
    labels = LabelSource(dataset="cub200", root=tmp_path).add_to(data).labels
    assert labels is not None and labels.tolist() == [0, 0, 0, 0, 1, 1]


def test_several_labels_become_a_row_of_zeros_and_ones(tmp_path: Path) -> None:
    make_nus_wide(tmp_path)
    data = LabelSource(dataset="nus-wide", root=tmp_path, split="test").read()
    assert data.labels is not None and data.label_names is not None
    assert data.labels.shape == (35, 21) == (len(data), len(data.label_names))
    assert set(data.labels.sum(axis=1).tolist()) == {1, 2}


def test_an_image_of_the_other_split_is_refused_or_left_without_a_label(tmp_path: Path) -> None:
    folder = make_cub200(tmp_path)
    data = bought_of(sorted((folder / "images").rglob("*.jpg"))[8:16])
    with pytest.raises(InvalidInput, match="4 of 8 bought images are not in cub200, split train"):
        LabelSource(dataset="cub200", root=tmp_path).add_to(data)
    partly = LabelSource(dataset="cub200", root=tmp_path, partly=True).add_to(data)
    assert partly.labels is not None
    assert partly.labels.tolist() == [0] * 4 + [UNLABELLED] * 4
    with pytest.raises(InvalidInput, match="None of the 4 bought images has a label in cub200, split train"):
        LabelSource(dataset="cub200", root=tmp_path, partly=True).add_to(data.take(range(4, 8)))


def test_a_bought_file_whose_bytes_are_others_now_has_no_label(tmp_path: Path) -> None:
    folder = make_cub200(tmp_path)
    data = bought_of(sorted((folder / "images").rglob("*.jpg"))[:2])
    changed = replace(data, images=(replace(data.images[0], digest="0" * 64), data.images[1]))
    with pytest.raises(InvalidInput, match="1 of 2 bought images are not in cub200, split train"):
        LabelSource(dataset="cub200", root=tmp_path).add_to(changed)


def test_without_a_source_bought_images_stay_as_they_are(tmp_path: Path) -> None:
    data = bought_of(sorted((make_cub200(tmp_path) / "images").rglob("*.jpg"))[:2])
    assert LabelSource().option is None
    assert LabelSource().add_to(data) is data
    with pytest.raises(InvalidInput, match="There are no labels: give --manifest FILE"):
        LabelSource().read()


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        (lambda root: LabelSource(sfm120k=root, dataset="cub200"), "not --sfm120k and --dataset"),
        (lambda root: LabelSource(split="train"), "--split names a part of a manifest"),
        (lambda root: LabelSource(root=root), "--root is the folder of data sets"),
        (
            lambda root: LabelSource(sfm120k=root, partly=True),
            "--partly-labelled goes with --manifest or --data",
        ),
        (lambda root: LabelSource(dataset="cub", root=root).read(), "--dataset cub: choose from cub200"),
        (lambda root: LabelSource(dataset="cub200").read(), "give the folder of data sets with --root DIR"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(
    tmp_path: Path, wish: Callable[[Path], object], complaint: str
) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        wish(make_sfm120k(tmp_path))
