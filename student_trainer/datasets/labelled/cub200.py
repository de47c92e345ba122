"""CUB-200-2011: birds of 200 kinds; the first 100 are trained on, the others measured.

In: the folder that its archive unpacks to. Out: a split. No image is opened.

Source: Wah et al., "The Caltech-UCSD Birds-200-2011 Dataset" (2011). Its own ``train_test_split.txt`` divides
the images of each kind, for classifiers, and is not looked at: metric learning is tested on kinds that
training never saw.
"""

from collections.abc import Mapping
from pathlib import Path

from student_trainer.datasets.labelled.catalogue import CUB200, LABELLED, TEST, TRAIN
from student_trainer.datasets.labelled.split import LabelledSplit
from student_trainer.datasets.labelled.text_lines import Line, by_number
from student_trainer.datasets.manifest import Entry
from student_trainer.errors import InvalidInput

IMAGES, LABELS, NAMES = "images.txt", "image_class_labels.txt", "classes.txt"
LAST_TRAINED = 100
"""Class numbers up to this one are trained on."""
_MOST_IMAGES = 10_000_000


def read_cub200(folder: Path, split: str) -> LabelledSplit:
    """A split, by ascending image number.

    Raises:
        InvalidInput: a file is missing or malformed, or the two lists are not of the same images.
    """
    images = by_number(folder / IMAGES, "image_id path", _MOST_IMAGES, "image id")
    labels = by_number(folder / LABELS, "image_id class_id", _MOST_IMAGES, "image id")
    _check_same(folder, images, labels)
    _check_paths(images)
    names = _names(folder)
    kept = []
    for number in sorted(images):
        label = labels[number].whole(1, 1, LABELLED[CUB200].classes, "class id")
        if (TRAIN if label <= LAST_TRAINED else TEST) == split:
            path = folder / "images" / images[number].path(1)
            kept.append(Entry(path, names.get(label, f"{label:03}"), split))
    return LabelledSplit(CUB200, folder, split, tuple(kept), (folder / "images",))


def _check_same(folder: Path, images: Mapping[int, Line], labels: Mapping[int, Line]) -> None:
    for one, its, other in ((images, IMAGES, labels), (labels, LABELS, images)):
        alone = sorted(one.keys() - other.keys())
        if alone:
            missing = LABELS if its == IMAGES else IMAGES
            raise InvalidInput(
                f"{folder / its}: {len(alone):,} of {len(one):,} images are not in {missing}, the first is "
                f"number {alone[0]} (line {one[alone[0]].number}). Unpack the archive again."
            )


def _check_paths(images: Mapping[int, Line]) -> None:
    seen: dict[str, Line] = {}
    for line in images.values():
        before = seen.setdefault(line.path(1), line)
        if before is not line:
            raise InvalidInput(
                f"{line.where}: the image {line.path(1)} stands in line {before.number} already."
            )


def _names(folder: Path) -> dict[int, str]:
    """``001.Black_footed_Albatross`` of 1; empty where the file is not there, which only names need."""
    if not (folder / NAMES).is_file():
        return {}
    lines = by_number(folder / NAMES, "class_id name", LABELLED[CUB200].classes, "class id")
    return {number: line.fields[1] for number, line in lines.items()}
