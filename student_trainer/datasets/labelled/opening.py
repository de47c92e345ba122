"""Open a public set of labelled images by its name, as every command does.

In: a name, the folder of data sets and a split. Out: the split, ready: its lists read and checked, images
that are arrays written as files, and what differs from the published set said on standard error.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from student_trainer.datasets.labelled.cars196 import read_cars196
from student_trainer.datasets.labelled.catalogue import (
    CARS196,
    CIFAR10,
    CUB200,
    NUS_WIDE,
    ONLINE_PRODUCTS,
    find_labelled,
    known_set,
)
from student_trainer.datasets.labelled.cifar10 import read_cifar10
from student_trainer.datasets.labelled.cub200 import read_cub200
from student_trainer.datasets.labelled.nus_wide import read_nus_wide
from student_trainer.datasets.labelled.online_products import read_online_products
from student_trainer.datasets.labelled.plain_png import write_pngs
from student_trainer.datasets.labelled.split import LabelledSplit, checked_split
from student_trainer.errors import InvalidInput
from student_trainer.progress import progress

_READERS: Mapping[str, Callable[[Path, str], LabelledSplit]] = {
    CUB200: read_cub200,
    CARS196: read_cars196,
    ONLINE_PRODUCTS: read_online_products,
    CIFAR10: read_cifar10,
    NUS_WIDE: read_nus_wide,
}


def list_labelled(folder: Path, name: str, split: str) -> LabelledSplit:
    """What a split lists, from the set's own folder; no image is looked at, and nothing written.

    Raises:
        InvalidInput: there is no such set or split, its lists cannot be, or list nothing for the split.
    """
    found = _READERS[known_set(name).name](folder, checked_split(known_set(name), split))
    if not found.entries:
        raise InvalidInput(f"{found.words}: {folder} lists no images of it.")
    return found


def open_labelled(name: str, root: Path | None, split: str) -> LabelledSplit:
    """A split of a set in or below ``root``.

    Raises:
        InvalidInput: no ``root``, or the set is not there (what to download is said), or as
            :func:`list_labelled`; also a set without its images.
        StorageFailed: images cannot be written as files.
    """
    known = known_set(name)
    if root is None:
        raise InvalidInput(f"--dataset {name}: give the folder of data sets with --root DIR.")
    checked_split(known, split)
    found = list_labelled(find_labelled(root, name), name, split)
    _require_folders(found)
    if (difference := found.difference()) is not None:
        print(difference, file=sys.stderr, flush=True)
    if found.pixels is not None:
        with progress("Writing images as files", len(found), "images") as bar:
            write_pngs(found.paths, found.pixels, bar.advance)
    return found


def _require_folders(found: LabelledSplit) -> None:
    """Refuse at once what would fail for each image, one after the other."""
    missing = [folder for folder in found.image_folders if not folder.is_dir()]
    if missing:
        raise InvalidInput(
            f"The lists of {found.name} are there, but its images are not: there is no folder {missing[0]}. "
            f"Get {'; '.join(found.known.download)}, and unpack them so: {found.known.layout}."
        )
