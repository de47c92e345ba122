"""Stanford Online Products: photographs of things for sale, some of each, in the set's own two halves.

In: the folder that its archive unpacks to. Out: a split. No image is opened.

Source: Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding" (2016). No product is in
both halves.
"""

from pathlib import Path
from typing import Any

from student_trainer.datasets.labelled.catalogue import LABELLED, ONLINE_PRODUCTS, TRAIN
from student_trainer.datasets.labelled.split import LabelledSplit
from student_trainer.datasets.labelled.text_lines import Line, read_lines
from student_trainer.datasets.manifest import Entry
from student_trainer.errors import InvalidInput

FORM = "image_id class_id super_class_id path"
_MOST_IMAGES = 10_000_000
_MOST_KINDS = 1_000


def read_online_products(folder: Path, split: str) -> LabelledSplit:
    """A split, in the order of its list; the label is the product's number.

    Raises:
        InvalidInput: the list is missing or malformed, or names an image twice.
    """
    listed = folder / ("Ebay_train.txt" if split == TRAIN else "Ebay_test.txt")
    numbers: dict[int, Line] = {}
    paths: dict[str, Line] = {}
    entries = []
    kinds = set()
    for line in read_lines(listed, FORM, header=True):
        _once(numbers, line.whole(0, 1, _MOST_IMAGES, "image id"), line, "image id")
        _once(paths, line.path(3), line, "image")
        label = line.whole(1, 1, LABELLED[ONLINE_PRODUCTS].classes, "class id")
        line.whole(2, 1, _MOST_KINDS, "super class id")
        kinds.add(Path(line.path(3)).parts[0])
        entries.append(Entry(folder / line.path(3), str(label), split))
    return LabelledSplit(
        ONLINE_PRODUCTS, folder, split, tuple(entries), tuple(folder / kind for kind in sorted(kinds))
    )


def _once(seen: dict[Any, Line], key: int | str, line: Line, what: str) -> None:
    before = seen.setdefault(key, line)
    if before is not line:
        raise InvalidInput(f"{line.where}: the {what} {key} stands in line {before.number} already.")
