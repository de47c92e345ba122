"""What a training learns from: images, with the bought descriptors, with labels, or with both.

In: a transfer set, a manifest, a public training set. Out: :class:`TrainingData`, whose rows all speak of the
same images.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.certificate import transfer_set_digest
from shared.digest import digest_of_list
from shared.vectors import descriptor_digest
from student_trainer.acquire.transfer_set import Bought, TransferSet
from student_trainer.datasets.manifest import Entry, Label, labelled_entries
from student_trainer.datasets.present import require_files
from student_trainer.datasets.sfm120k import image_path, open_sfm120k
from student_trainer.distil.images import SourceImage, digest_files
from student_trainer.distil.labels.class_names import classes_of
from student_trainer.distil.labels.of_batch import has_label
from student_trainer.distil.white_box.teacher import WhiteBox
from student_trainer.errors import InvalidInput
from student_trainer.naming import some_names

PATHS_NAMED = 3
"""Of images that a refusal is about: paths are long."""
WITHOUT_TEACHER = "Label these, or leave them out of the manifest."
"""What to do with images without a label where nothing else is known of them."""


@dataclass(frozen=True)
class TrainingData:
    """Images in a fixed order, and what is known of each."""

    images: tuple[SourceImage, ...]
    teacher: NDArray[np.float32] | None = None
    """Bought descriptors [n, D]."""
    labels: NDArray[np.int64] | None = None
    """Class numbers [n], -1 where there is none; or multi-hot [n, C], 1 for each label of an
    image, where images have several."""
    pairs: NDArray[np.int64] | None = None
    """Rows [m, 2] of images known to match; None where all images of a label do."""
    teacher_revision: str | None = None
    white_box: WhiteBox | None = None
    """The teacher itself, where its file is at hand: for objectives that learn from its feature maps."""
    label_names: tuple[str, ...] | None = None
    """What each class number stands for."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def unlabelled(self) -> int:
        """Images without a label among labelled ones; 0 where nothing is said of labels."""
        if self.labels is None:
            return 0
        return int(np.count_nonzero(~has_label(self.labels)))

    @property
    def transfer_set_digest(self) -> str | None:
        """The digest that the budget certificate states, or None without descriptors."""
        if self.teacher is None:
            return None
        rows = zip(self.images, self.teacher, strict=True)
        return transfer_set_digest({image.digest: descriptor_digest(row) for image, row in rows})

    def digest(self) -> str:
        """Digest of images, descriptors and labels in their order; a training is bound to it."""
        images = [image.digest for image in self.images]
        labels = [] if self.labels is None else [str(label) for label in self.labels.tolist()]
        pairs = [] if self.pairs is None else ["pairs", *map(str, self.pairs.flatten().tolist())]
        shown = [] if self.white_box is None else ["white box", self.white_box.digest]
        return digest_of_list(
            ["images", *images, "labels", *labels, "bought", self.transfer_set_digest or "", *pairs, *shown]
        )

    def take(self, indices: Sequence[int]) -> "TrainingData":
        """The rows ``indices`` alone, and of the pairs those whose both images are among them."""
        rows = list(indices)
        return replace(
            self,
            images=tuple(self.images[row] for row in rows),
            teacher=None if self.teacher is None else self.teacher[rows],
            labels=None if self.labels is None else self.labels[rows],
            pairs=None if self.pairs is None else _renumbered(self.pairs, rows, len(self)),
        )


def from_transfer_set(path: Path, *, partial: bool = False) -> TrainingData:
    """The bought descriptors and their images.

    Args:
        path: the transfer set.
        partial: take what is there although planned images are not bought yet. A training is bound to
            its images, so buying more afterwards means training from the beginning.

    Raises:
        InvalidInput: there is no transfer set, nothing is bought, or without ``partial`` not everything.
        StorageFailed: it is damaged.
    """
    with TransferSet.open(path) as transfer_set:
        bought, summary = transfer_set.bought(), transfer_set.summary()
    count = f"{summary.bought:,} of {summary.chosen:,} planned images are bought"
    if not bought.paths or (summary.missing and not partial):
        alternative = ", or train on these with --partial" if bought.paths else ""
        raise InvalidInput(f"{path}: {count}. Buy the rest with: student-trainer fetch{alternative}.")
    return TrainingData(_sources(bought), teacher=bought.vectors, teacher_revision=bought.teacher_revision)


def from_manifest(path: Path, split: str | None) -> TrainingData:
    """The labelled images of a manifest, or of a folder with a sub-folder for each label; no teacher.

    Raises:
        InvalidInput: the manifest or an image cannot be read, or an image has no label.
    """
    return from_entries(labelled_entries(path, split), f"the manifest {path}")


def from_entries(entries: Sequence[Entry], source: str, cure: str = WITHOUT_TEACHER) -> TrainingData:
    """Labelled images, all of which are read once for their digests; no teacher.

    Args:
        entries: the images.
        source: where they are listed, in words.
        cure: what to do where an image has no label.

    Raises:
        InvalidInput: an image cannot be read, or has no label.
    """
    classes = classes_of(_labels(entries, source, cure))
    images = tuple(digest_files(entry.path for entry in entries))
    return TrainingData(images, labels=classes.numbers, label_names=classes.names)


def from_sfm120k(root: Path, split: str | None, only: Container[str] | None = None) -> TrainingData:
    """The images of a split of SfM-120k, by default ``train``: 3D models as labels, and the matching pairs.

    All images are read once, for their digests.

    Args:
        root: the folder of the set, or the one that it lies in.
        split: ``train`` or ``val``.
        only: the names of images that are taken, and the pairs among them; None for all.

    Raises:
        InvalidInput: the set or some of its images are not there, or its file is refused.
    """
    public = open_sfm120k(root, split or "train")
    places = [place for place, cid in enumerate(public.cids) if only is None or cid in only]
    files = [image_path(public.root, public.cids[place]) for place in places]
    require_files(files, f"SfM-120k, {public.name},")
    models, numbers = np.unique(public.clusters[places], return_inverse=True)
    pairs = np.stack([public.pairs.queries, public.pairs.positives], axis=1)
    return TrainingData(
        images=tuple(digest_files(files)),
        labels=numbers.astype(np.int64),
        label_names=tuple(map(str, models.tolist())),
        pairs=_renumbered(pairs, places, len(public.cids)),
    )


def _renumbered(pairs: NDArray[np.int64], rows: Sequence[int], images: int) -> NDArray[np.int64]:
    """The pairs among ``rows`` of so many images, by their places there."""
    place = np.full(images, -1, np.int64)
    place[rows] = np.arange(len(rows))
    kept = place[pairs]
    return kept[(kept >= 0).all(axis=1)]


def _sources(bought: Bought) -> tuple[SourceImage, ...]:
    return tuple(SourceImage(path, image) for path, image in zip(bought.paths, bought.images, strict=True))


def _labels(entries: Sequence[Entry], source: str, cure: str) -> list[Label]:
    unlabelled = [entry.path for entry in entries if not entry.label]
    if unlabelled:
        raise InvalidInput(
            f"{len(unlabelled):,} of {len(entries):,} images of {source} have no label: "
            f"{some_names(unlabelled, PATHS_NAMED)}. {cure}"
        )
    return [entry.label for entry in entries if entry.label]
