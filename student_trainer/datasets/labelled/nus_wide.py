"""NUS-WIDE: photographs of Flickr with the concepts that each shows; here the 21 most frequent of 81.

In: the folder of the image list, the ground truth and the photographs. Out: a split whose images have several
labels. No image is opened.

Source: Chua et al., "NUS-WIDE: A Real-World Web Image Database from National University of Singapore" (2009).
Hashing papers keep the images that show one of the 21 concepts with the most images, 195,834 of 269,648.
Which concepts these are is counted from the ground truth, not known by heart.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from student_trainer.datasets.labelled.catalogue import DATABASE, NUS_WIDE, TEST, TRAIN
from student_trainer.datasets.labelled.hashing_split import hashing_split
from student_trainer.datasets.labelled.split import LabelledSplit
from student_trainer.datasets.labelled.text_lines import read_lines
from student_trainer.datasets.manifest import Entry
from student_trainer.errors import InvalidInput

KEPT_CONCEPTS = 21
LIST, TRUTH, PHOTOGRAPHS = "ImageList/Imagelist.txt", "Groundtruth/AllLabels", "Flickr"
_PREFIX = "Labels_"
_NEWLINE, _NO, _YES = b"\n01"


def read_nus_wide(folder: Path, split: str) -> LabelledSplit:
    """A split, in the order of the image list.

    Raises:
        InvalidInput: a file is missing or malformed, there are fewer than 21 concepts, or an image is listed
            twice.
    """
    paths = _image_list(folder / LIST)
    concepts, shows = _ground_truth(folder / TRUTH, len(paths))
    kept = np.flatnonzero(shows.any(axis=1))
    drawn = hashing_split(shows[kept], [paths[row] for row in kept])
    of_split = {TRAIN: drawn.trained, DATABASE: ~drawn.queries, TEST: np.ones(len(kept), bool)}[split]
    entries = tuple(
        Entry(
            folder / PHOTOGRAPHS / paths[kept[row]],
            tuple(concepts[place] for place in np.flatnonzero(shows[kept[row]])),
            split,
            is_query=split == TEST and bool(drawn.queries[row]),
        )
        for row in np.flatnonzero(of_split)
    )
    return LabelledSplit(NUS_WIDE, folder, split, entries, (folder / PHOTOGRAPHS,))


def _image_list(path: Path) -> list[str]:
    """Paths such as ``actor/0001_2124494179.jpg``; the public list has backslashes."""
    seen: dict[str, int] = {}
    for line in read_lines(path, "path"):
        image = line.path(0)
        before = seen.setdefault(image, line.number)
        if before != line.number:
            raise InvalidInput(f"{line.where}: the image {image} stands in line {before} already.")
    return list(seen)


def _ground_truth(folder: Path, images: int) -> tuple[list[str], NDArray[np.bool_]]:
    """The most frequent concepts in the order of the alphabet, and [n, 21] which image shows which."""
    files = sorted(folder.glob(f"{_PREFIX}*.txt"))
    if len(files) < KEPT_CONCEPTS:
        raise InvalidInput(
            f"{folder} has the ground truth of {len(files)} concepts, in files {_PREFIX}<concept>.txt; the "
            f"{KEPT_CONCEPTS} most frequent of 81 are needed. Unpack the ground truth there."
        )
    columns = [_column(file, images) for file in files]
    frequent = sorted(range(len(files)), key=lambda place: (-int(columns[place].sum()), files[place].name))
    chosen = sorted(frequent[:KEPT_CONCEPTS])
    names = [files[place].stem.removeprefix(_PREFIX) for place in chosen]
    return names, np.stack([columns[place] for place in chosen], axis=1)


def _column(file: Path, images: int) -> NDArray[np.bool_]:
    """[n] from a file of one 0 or 1 a line."""
    try:
        data = np.frombuffer(file.read_bytes(), np.uint8)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}.") from None
    places = np.flatnonzero((data == _NO) | (data == _YES))
    lines = np.cumsum(data == _NEWLINE)[places]
    blank = np.isin(data, np.frombuffer(b" \t\r\n01", np.uint8))
    if not blank.all() or not np.array_equal(lines, np.arange(len(lines))):
        raise InvalidInput(_wrong_line(file, data.tobytes().decode("latin-1").split("\n")))
    if len(places) != images:
        raise InvalidInput(
            f"{file} has {len(places):,} lines, and {LIST} lists {images:,} images: they are not of the same "
            "set."
        )
    shown: NDArray[np.bool_] = data[places] == _YES
    return shown


def _wrong_line(file: Path, lines: Sequence[str]) -> str:
    number, text = next((at, text) for at, text in enumerate(lines, 1) if text.strip() not in ("0", "1"))
    return f"{file}, line {number}: expected 0 or 1, found {text.strip()[:100]!r}."
