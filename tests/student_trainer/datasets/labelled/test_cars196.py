"""Cars-196: both layouts of the set list the same, and a list of another form is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_datasets import make_cars196, write_annotations
from scipy.io import savemat

from student_trainer.datasets.labelled.opening import open_labelled
from student_trainer.errors import InvalidInput


@pytest.mark.parametrize("devkit", [False, True])
@pytest.mark.parametrize(("split", "classes"), [("train", (1, 2, 98)), ("test", (99, 195, 196))])
def test_the_first_98_classes_are_trained_on_in_either_layout(
    tmp_path: Path, devkit: bool, split: str, classes: tuple[int, ...]
) -> None:
    make_cars196(tmp_path, devkit=devkit)
    found = open_labelled("cars196", tmp_path, split)
    labels = [entry.label for entry in found.entries]
    assert sorted(labels) == [f"{number:03} Car model {number}" for number in classes for _ in range(4)]
    assert all(path.is_file() for path in found.paths)
    assert {path.parent.name for path in found.paths} == (
        {"cars_train", "cars_test"} if devkit else {"car_ims"}
    )
    assert found.names_differ is not devkit


def test_the_same_photographs_have_the_same_labels_in_both_layouts(tmp_path: Path) -> None:
    make_cars196(tmp_path / "a")
    make_cars196(tmp_path / "b", devkit=True)
    one, other = (open_labelled("cars196", tmp_path / place, "train") for place in "ab")
    assert {entry.path.read_bytes(): entry.label for entry in one.entries} == {
        entry.path.read_bytes(): entry.label for entry in other.entries
    }


def test_without_names_classes_go_by_their_numbers(tmp_path: Path) -> None:
    (make_cars196(tmp_path, devkit=True) / "devkit" / "cars_meta.mat").unlink()
    assert {entry.label for entry in open_labelled("cars196", tmp_path, "train").entries} == {
        "001",
        "002",
        "098",
    }


def test_a_devkit_without_the_labels_of_its_test_images_is_told_what_is_missing(tmp_path: Path) -> None:
    labels = make_cars196(tmp_path, devkit=True) / "cars_test_annos_withlabels.mat"
    labels.rename(labels.parent / "devkit" / labels.name)
    assert len(open_labelled("cars196", tmp_path, "train")) == 12
    (labels.parent / "devkit" / labels.name).unlink()
    with pytest.raises(
        InvalidInput, match=r"no cars_test_annos_withlabels\.mat .*does not say what they show"
    ):
        open_labelled("cars196", tmp_path, "train")


@pytest.mark.parametrize(
    ("named", "complaint"),
    [
        ([("car_ims/1.jpg", 197)], r"record 1: 'class' should be a number from 1 to 196, but is \[197\]"),
        ([("car_ims/1.jpg", 1.5)], r"'class' should be a number from 1 to 196, but is \[1\.5\]"),
        ([("car_ims/1.jpg", 0)], "'class' should be a number"),
        ([("car_ims/1.jpg", "two")], "'class' should be a number from 1 to 196, but is two"),
        ([("car_ims/1.jpg", 1), ("car_ims/1.jpg", 2)], r"record 2: the image .*1\.jpg is listed twice"),
        (
            [("../1.jpg", 1)],
            r"record 1: 'relative_im_path' should be the path of an image, but is '\.\./1\.jpg'",
        ),
        ([(7, 1)], "'relative_im_path' should be the path of an image"),
        ([], "lists no images of it"),
    ],
)
def test_annotations_that_cannot_be_are_refused_with_their_place(
    tmp_path: Path, named: list[tuple[Any, Any]], complaint: str
) -> None:
    write_annotations(tmp_path / "cars_annos.mat", "relative_im_path", named)
    (tmp_path / "car_ims").mkdir()
    with pytest.raises(InvalidInput, match=complaint):
        open_labelled("cars196", tmp_path, "train")


@pytest.mark.parametrize(
    "variables",
    [{"annotations": np.arange(3)}, {"others": 1}, {"annotations": "text"}, {"annotations": {"fname": "x"}}],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, variables: dict[str, Any]) -> None:
    savemat(tmp_path / "cars_annos.mat", variables)
    with pytest.raises(
        InvalidInput, match=r"should hold the struct 'annotations'|'relative_im_path' should be"
    ):
        open_labelled("cars196", tmp_path, "train")
