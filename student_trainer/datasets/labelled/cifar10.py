"""CIFAR-10: 60,000 images of 32 x 32 pixels in 10 classes, with the split of hashing papers.

In: the folder of the python or the binary version. Out: a split, with the images' pixels; their files, which
can be bought, are for :func:`student_trainer.datasets.labelled.opening.open_labelled` to write.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009). Its batches for training
and testing are pooled, as hashing papers do. The python version is a pickle, read as
:mod:`student_trainer.datasets.restricted_pickle` says.
"""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from student_trainer.datasets.labelled.catalogue import CIFAR10, DATABASE, TEST, TRAIN
from student_trainer.datasets.labelled.hashing_split import hashing_split
from student_trainer.datasets.labelled.split import LabelledSplit
from student_trainer.datasets.manifest import Entry
from student_trainer.datasets.plain_values import member, whole_numbers
from student_trainer.datasets.restricted_pickle import read_plain_pickle
from student_trainer.errors import InvalidInput

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILES = "png"
"""The folder of the images' files, beside the batches."""
SIDE_PX = 32
_PIXELS = 3 * SIDE_PX * SIDE_PX
_MOST_BYTES = 1_000_000_000

Batch: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Planes [n, 3072]: 1,024 values of red, of green, of blue, row by row; labels [n]."""


def read_cifar10(folder: Path, split: str) -> LabelledSplit:
    """A split, in the order of the batches.

    Raises:
        InvalidInput: a batch is missing, refused or of another form.
    """
    read = _pickled if (folder / BATCHES[0]).is_file() else _binary
    batches = [read(folder, name) for name in BATCHES]
    names = [
        f"{name}_{row:05}"
        for name, batch in zip(BATCHES, batches, strict=True)
        for row in range(len(batch[1]))
    ]
    labels = np.concatenate([batch[1] for batch in batches])
    drawn = hashing_split(labels[:, None] == np.arange(len(CLASSES)), names)
    kept = {TRAIN: drawn.trained, DATABASE: ~drawn.queries, TEST: np.ones(len(names), bool)}[split]
    planes = np.concatenate([batch[0] for batch in batches])[kept]
    entries = [
        Entry(
            folder / FILES / names[row].rpartition("_")[0] / f"{names[row]}.png",
            CLASSES[labels[row]],
            split,
            is_query=split == TEST and bool(drawn.queries[row]),
        )
        for row in np.flatnonzero(kept)
    ]
    pixels = np.ascontiguousarray(planes.reshape(-1, 3, SIDE_PX, SIDE_PX).transpose(0, 2, 3, 1))
    return LabelledSplit(CIFAR10, folder, split, tuple(entries), (), pixels, batch_files(folder))


def batch_files(folder: Path) -> tuple[Path, ...]:
    """The files that the images are read from, whether they are there or not."""
    ending = "" if (folder / BATCHES[0]).is_file() else ".bin"
    return tuple(folder / f"{name}{ending}" for name in BATCHES)


def _pickled(folder: Path, name: str) -> Batch:
    """A batch of the python version; Python 3 may have written its keys as bytes."""
    path = folder / name
    content = read_plain_pickle(path)
    if isinstance(content, dict):
        content = {key.decode("latin-1") if isinstance(key, bytes) else key: content[key] for key in content}
    planes: Any = member(content, "data", str(path))
    labels = whole_numbers(member(content, "labels", str(path)), f"{path}: 'labels'")
    if (
        not isinstance(planes, np.ndarray)
        or planes.dtype != np.uint8
        or planes.shape != (len(labels), _PIXELS)
    ):
        found = (
            f"{planes.dtype} {list(planes.shape)}"
            if isinstance(planes, np.ndarray)
            else type(planes).__name__
        )
        raise InvalidInput(
            f"{path}: 'data' should be uint8 [{len(labels):,}, {_PIXELS:,}], as many rows as labels, but is "
            f"{found}."
        )
    return planes, _checked(labels, path)


def _binary(folder: Path, name: str) -> Batch:
    """A batch of the binary version: a byte of label and 3,072 of pixels for each image."""
    path = folder / f"{name}.bin"
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) % (1 + _PIXELS):
        raise InvalidInput(
            f"{path} has {len(data):,} bytes, which is no whole number of images of {1 + _PIXELS:,}: it is "
            "cut, or none of CIFAR-10. Get it again."
        )
    rows = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXELS)
    return rows[:, 1:], _checked(rows[:, 0].astype(np.int64), path)


def _checked(labels: NDArray[np.int64], path: Path) -> NDArray[np.int64]:
    outside = np.flatnonzero((labels < 0) | (labels >= len(CLASSES)))
    if len(outside):
        raise InvalidInput(
            f"{path}: {len(outside):,} labels are not from 0 to {len(CLASSES) - 1}, the first is "
            f"{labels[outside[0]]} of image {outside[0]} (counted from 0)."
        )
    return labels
