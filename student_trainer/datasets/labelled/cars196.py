"""Cars-196: photographs of cars of 196 models; the first 98 are trained on, the others measured.

In: the folder of the set in one of its two layouts, both with lists in MATLAB's files. Out: a split. No image
is opened.

Source: Krause et al., "3D Object Representations for Fine-Grained Categorization" (2013). One layout has all
images in one folder, the other has them divided for classifiers; which half an image is in there makes no
difference here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from student_trainer.datasets.ground_truth_checks import stays_inside
from student_trainer.datasets.labelled.catalogue import CARS196, LABELLED, TEST, TRAIN
from student_trainer.datasets.labelled.matlab import read_matlab
from student_trainer.datasets.labelled.split import LabelledSplit
from student_trainer.datasets.manifest import Entry
from student_trainer.errors import InvalidInput

LAST_TRAINED = 98
"""Class numbers up to this one are trained on."""
WITH_LABELS = "cars_test_annos_withlabels.mat"


@dataclass(frozen=True)
class _List:
    """A file of annotations, and what it calls its images."""

    file: Path
    image_field: str
    images: Path
    """The folder from which the names count."""


def read_cars196(folder: Path, split: str) -> LabelledSplit:
    """A split, in the order of the lists.

    Raises:
        InvalidInput: a list is missing, refused or of another form, or names an image twice.
    """
    lists, image_folders = _lists(folder)
    names = _names(folder)
    seen: set[Path] = set()
    kept = []
    for path, label, where in (image for listed in lists for image in _images(listed)):
        if path in seen:
            raise InvalidInput(f"{where}: the image {path} is listed twice.")
        seen.add(path)
        if (TRAIN if label <= LAST_TRAINED else TEST) == split:
            kept.append(Entry(path, names.get(label, f"{label:03}"), split))
    return LabelledSplit(CARS196, folder, split, tuple(kept), image_folders)


def _lists(folder: Path) -> tuple[tuple[_List, ...], tuple[Path, ...]]:
    together = folder / "cars_annos.mat"
    if together.is_file():
        return (_List(together, "relative_im_path", folder),), (folder / "car_ims",)
    labelled = next((place for place in (folder, folder / "devkit") if (place / WITH_LABELS).is_file()), None)
    if labelled is None:
        raise InvalidInput(
            f"There is no {WITH_LABELS} in {folder} or its devkit: half of the images of either split are "
            "in cars_test, and cars_test_annos.mat of the devkit does not say what they show. Get it from "
            "the page of the set."
        )
    train, test = folder / "cars_train", folder / "cars_test"
    return (
        _List(folder / "devkit" / "cars_train_annos.mat", "fname", train),
        _List(labelled / WITH_LABELS, "fname", test),
    ), (train, test)


def _images(listed: _List) -> Iterator[tuple[Path, int, str]]:
    """Each image's file, class number, and where it is listed."""
    annotations = read_matlab(listed.file, ["annotations"]).get("annotations")
    if not isinstance(annotations, list) or not all(isinstance(record, dict) for record in annotations):
        raise InvalidInput(f"{listed.file} should hold the struct 'annotations', one record an image.")
    for number, record in enumerate(annotations, 1):
        where = f"{listed.file}, record {number}"
        name = record.get(listed.image_field)
        if not stays_inside(name) or not PurePosixPath(str(name)).parts:
            raise InvalidInput(
                f"{where}: {listed.image_field!r} should be the path of an image, but is {str(name)[:100]!r}."
            )
        yield listed.images / str(name), _class_number(record.get("class"), where), where


def _class_number(value: Any, where: str) -> int:
    classes = LABELLED[CARS196].classes
    if isinstance(value, np.ndarray) and value.shape == (1,) and value[0] in range(1, classes + 1):
        return int(value[0])
    found = value.tolist() if isinstance(value, np.ndarray) else value
    raise InvalidInput(f"{where}: 'class' should be a number from 1 to {classes}, but is {str(found)[:100]}.")


def _names(folder: Path) -> dict[int, str]:
    """``002 Acura RL Sedan 2012`` of 2; empty where no list of names is there, which only names need."""
    for file in (folder / "cars_annos.mat", folder / "devkit" / "cars_meta.mat"):
        named = read_matlab(file, ["class_names"]).get("class_names") if file.is_file() else None
        if isinstance(named, list) and all(isinstance(name, str) for name in named):
            return {number: f"{number:03} {name}" for number, name in enumerate(named, 1)}
    return {}
