"""The labels of images that were bought: matched by the images' bytes, not by where they lie.

In: bought images, and labelled ones. Out: the bought images with class numbers, the names of these classes,
and the pairs of them that are known to match.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from student_trainer.datasets.manifest import Entry, labelled_entries
from student_trainer.distil.data import PATHS_NAMED, TrainingData, from_entries, from_sfm120k
from student_trainer.distil.labels.of_batch import UNLABELLED, has_label
from student_trainer.errors import InvalidInput
from student_trainer.naming import some_names

_CURE = "Label these, or train on those that have a label and on all descriptors with --partly-labelled."


def with_labels_of(bought: TrainingData, labelled: TrainingData) -> TrainingData:
    """All that is known of the labels of labelled images, for bought ones with the same bytes.

    Classes are numbered anew, in the order of the labelled images' numbers: those alone that a bought image
    has. Known pairs are those whose both images are bought. A bought image that is not among the labelled
    ones is without a label.
    """
    assert labelled.labels is not None
    place_of = {image.digest: place for place, image in enumerate(labelled.images)}
    places = np.array([place_of.get(image.digest, -1) for image in bought.images], np.int64)
    labels = labelled.labels[places]
    labels[places < 0] = UNLABELLED if labels.ndim == 1 else 0
    if labels.ndim == 1:
        present, labels[has_label(labels)] = np.unique(labels[has_label(labels)], return_inverse=True)
    else:
        present = np.flatnonzero(labels.any(axis=0))
        labels = labels[:, present]
    names = labelled.label_names
    return replace(
        bought,
        labels=labels,
        label_names=None if names is None else tuple(names[number] for number in present.tolist()),
        pairs=_pairs(bought, labelled),
    )


def unknown_in(labelled: TrainingData, bought: TrainingData) -> list[Path]:
    """Files of the bought images that are not among the labelled ones."""
    known = {image.digest for image in labelled.images}
    return [image.path for image in bought.images if image.digest not in known]


def add_labels(data: TrainingData, path: Path, split: str | None, *, partly: bool = False) -> TrainingData:
    """The labels of a manifest, for bought images; images are matched by their bytes, not by their paths.

    Args:
        data: the bought images.
        path: the manifest, or a folder with a sub-folder for each label.
        split: of the manifest.
        partly: bought images that are not in the manifest, or have no label there, are unlabelled.

    Raises:
        InvalidInput: a bought image is not in the manifest, or has no label there; with ``partly``, all are.
            Or it is listed twice, with different labels.
    """
    return add_entry_labels(data, labelled_entries(path, split), f"the manifest {path}", partly=partly)


def add_entry_labels(
    data: TrainingData, entries: Sequence[Entry], source: str, *, partly: bool = False
) -> TrainingData:
    """The labels of listed images, for bought ones with the same bytes; ``source`` says where in words.

    Raises:
        InvalidInput: as :func:`add_labels`, or a bought image is listed twice with different labels.
    """
    if partly:
        entries = [entry for entry in entries if entry.label]
    labelled = from_entries(entries, source, _CURE)
    _refuse_contradictions(data, labelled, source)
    if not partly:
        _require_all(data, labelled, source, _CURE)
    elif len(unknown_in(labelled, data)) == len(data):
        raise InvalidInput(
            f"None of the {len(data):,} bought images has a label in {source}. Name the list of these "
            "images, or choose an objective that learns without labels."
        )
    return with_labels_of(data, labelled)


def add_sfm120k(data: TrainingData, root: Path, split: str | None) -> TrainingData:
    """The 3D models and matching pairs of SfM-120k, for images of it that were bought; by default ``train``.

    A bought file is looked for by its name, which is the image's in the set, and must have the bytes of the
    set's own file: so only what was bought is read.

    Raises:
        InvalidInput: the set is not there, its file is refused, or a bought image is not of this split.
    """
    labelled = from_sfm120k(root, split, only={image.path.name for image in data.images})
    cure = "Choose another split with --split, or buy images of this one."
    _require_all(data, labelled, f"SfM-120k, {split or 'train'}", cure)
    return with_labels_of(data, labelled)


def _pairs(bought: TrainingData, labelled: TrainingData) -> NDArray[np.int64] | None:
    if labelled.pairs is None:
        return None
    row_of = {image.digest: row for row, image in enumerate(bought.images)}
    rows = np.array([row_of.get(image.digest, -1) for image in labelled.images], np.int64)
    pairs: NDArray[np.int64] = rows[labelled.pairs]
    return pairs[(pairs >= 0).all(axis=1)]


def _refuse_contradictions(bought: TrainingData, labelled: TrainingData, source: str) -> None:
    """Two files with the bytes of a bought image must have one label, or nobody knows which is meant."""
    assert labelled.labels is not None
    wanted = {image.digest for image in bought.images}
    first: dict[str, int] = {}
    for place, image in enumerate(labelled.images):
        earlier = first.setdefault(image.digest, place)
        if image.digest in wanted and np.any(labelled.labels[earlier] != labelled.labels[place]):
            raise InvalidInput(
                f"{labelled.images[earlier].path} and {image.path} hold the same bytes and have different "
                f"labels in {source}. Take one of them out, or give both the same label."
            )


def _require_all(data: TrainingData, labelled: TrainingData, source: str, cure: str) -> None:
    if unknown := unknown_in(labelled, data):
        raise InvalidInput(
            f"{len(unknown):,} of {len(data):,} bought images are not in {source}: "
            f"{some_names(unknown, PATHS_NAMED)}. {cure}"
        )
