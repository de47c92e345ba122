"""Which images an epoch of tuples is about: anchors, a positive for each, and a pool to mine negatives from.

In: labels, the pairs that are known to match where they are, and a seed. Out: the draw of each epoch, a
function of (seed, epoch) alone; or a refusal where the labels cannot fill a tuple.

Source: Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (2018): some
thousand anchors an epoch, and a pool of 22,000 images.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from student_trainer.distil.labels.counts import single_images
from student_trainer.distil.labels.of_batch import has_label
from student_trainer.errors import InvalidInput

if TYPE_CHECKING:
    from student_trainer.distil.data import TrainingData

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Mining:
    """How many of each.

    Raises:
        InvalidInput: a number is not a whole one from 1 up.
    """

    negatives: int
    """Of a tuple, each of another label."""
    anchors_per_epoch: int
    pool_images: int
    by_teacher: bool = False
    """Positives and negatives are the teacher's descriptors; the student describes the anchors alone."""

    def __post_init__(self) -> None:
        for name in ("negatives", "anchors_per_epoch", "pool_images"):
            value = getattr(self, name)
            if value < 1 or value != int(value):
                raise InvalidInput(f"{name} = {value}: take a whole number from 1 up.")

    @property
    def tuple_images(self) -> int:
        """An anchor, a positive and the negatives."""
        return 2 + self.negatives

    @property
    def described_images(self) -> int:
        """Those of a tuple that the student describes."""
        return 1 if self.by_teacher else self.tuple_images


@dataclass(frozen=True)
class Draw:
    """Rows of the data, for one epoch."""

    pairs: Rows
    """[A, 2]: anchors, and for each an image that shows the same."""
    pool: Rows
    """[P], ascending."""


@dataclass(frozen=True)
class TupleDraws:
    """All epochs' draws. Images without a label are in none of them.

    Without pairs an anchor is any image whose label has another, and its positive is drawn anew in each
    epoch. An image that is alone with its label can be a negative.
    """

    mining: Mining
    labels: Rows
    """[n]."""
    known_pairs: Rows | None
    """[m, 2]: an anchor and its positive; None where any two images of a label match."""
    seed: int

    @classmethod
    def of(cls, mining: Mining, data: "TrainingData", seed: int, epochs: int) -> "TupleDraws":
        """The draws from these data, if they can fill the tuples of so many epochs.

        Raises:
            InvalidInput: no labels, no two images of a label, pairs that are not of one label, or too few
            labels for the negatives.
        """
        if data.labels is None:
            raise InvalidInput("Tuples are made of labelled images, and there are no labels.")
        draws = cls(mining, data.labels, data.pairs, seed)
        if data.pairs is not None:
            draws._check_pairs(data.pairs)
        draws._check_labels()
        for epoch in range(1, epochs + 1):
            draws._check_pool(epoch)
        return draws

    @property
    def anchors(self) -> int:
        """How many an epoch has: those asked for, or all that there are."""
        return min(self.mining.anchors_per_epoch, len(self._candidates))

    @property
    def alone(self) -> int:
        """Labels of a single image; 0 where the pairs are known."""
        _, counts = self._counts
        return int((counts == 1).sum()) if self.known_pairs is None else 0

    def sentence(self) -> str | None:
        """What labels or pairs do not give, for people; None where nothing is to be said."""
        if self.alone:
            return single_images(self.alone)
        if self.known_pairs is not None and self.anchors < self.mining.anchors_per_epoch:
            return (
                f"Pairs known to match among these images: {self.anchors:,}. So an epoch has as many anchors "
                f"in place of {self.mining.anchors_per_epoch:,}."
            )
        return None

    def draw(self, epoch: int) -> Draw:
        """The draw of an epoch (counted from 1)."""
        random = np.random.default_rng([self.seed, epoch])
        chosen = random.permutation(self._candidates)[: self.anchors]
        pool = random.permutation(self._labelled)[: self.mining.pool_images]
        if self.known_pairs is not None:
            pairs = self.known_pairs[chosen]
        else:
            pairs = np.stack([chosen, self._another(chosen, random)], axis=1)
        return Draw(pairs, np.sort(pool))

    def _another(self, rows: Rows, random: np.random.Generator) -> Rows:
        """For each row another one of its label, uniformly."""
        starts, counts = self._counts
        label = np.searchsorted(self._known_labels, self.labels[rows])
        own = self._place[rows] - starts[label]
        drawn = random.integers(counts[label] - 1)
        others: Rows = self._by_label[starts[label] + drawn + (drawn >= own)]
        return others

    @cached_property
    def _labelled(self) -> Rows:
        return np.flatnonzero(has_label(self.labels))

    @cached_property
    def _by_label(self) -> Rows:
        """Labelled rows, those of a label side by side."""
        return self._labelled[np.argsort(self.labels[self._labelled], kind="stable")]

    @cached_property
    def _place(self) -> Rows:
        """Of each row in ``_by_label``; -1 for images without a label."""
        place = np.full(len(self.labels), -1, np.int64)
        place[self._by_label] = np.arange(len(self._by_label))
        return place

    @cached_property
    def _known_labels(self) -> Rows:
        return np.unique(self.labels[self._labelled])

    @cached_property
    def _counts(self) -> tuple[Rows, Rows]:
        """Of each label: where it starts in ``_by_label``, and how many images it has."""
        _, starts, counts = np.unique(self.labels[self._by_label], return_index=True, return_counts=True)
        return starts.astype(np.int64), counts.astype(np.int64)

    @cached_property
    def _candidates(self) -> Rows:
        """What anchors are drawn from: places in the known pairs, or rows with another of their label."""
        if self.known_pairs is not None:
            return np.arange(len(self.known_pairs))
        _, counts = self._counts
        return np.sort(self._by_label[np.repeat(counts > 1, counts)])

    def _check_pairs(self, pairs: Rows) -> None:
        wrong = pairs[(self.labels[pairs[:, 0]] != self.labels[pairs[:, 1]]) | (pairs[:, 0] == pairs[:, 1])]
        if len(wrong):
            raise InvalidInput(
                f"{len(wrong):,} of {len(pairs):,} pairs are not two images of one label, the first are the "
                f"images {wrong[0, 0]:,} and {wrong[0, 1]:,} (counted from 0). Correct the pairs or labels."
            )

    def _check_labels(self) -> None:
        labels, negatives = len(self._known_labels), self.mining.negatives
        if not len(self._candidates):
            what = "no two images have the same label" if self.known_pairs is None else "there is no pair"
            raise InvalidInput(
                f"Nobody can be an anchor: {what} among {len(self._labelled):,} labelled images. A tuple "
                "needs two images that show the same."
            )
        if labels <= negatives:
            cure = f"--set objective.negatives={labels - 1}" if labels > 1 else "add images of other labels"
            raise InvalidInput(
                f"There are {labels} labels, and a tuple needs {negatives + 1}: its anchor's, and another "
                f"for each of {negatives} negatives. Ask for fewer: {cure}."
            )

    def _check_pool(self, epoch: int) -> None:
        """Whether every anchor of an epoch finds its negatives in the pool."""
        draw = self.draw(epoch)
        in_pool = np.unique(self.labels[draw.pool])
        own = np.isin(self.labels[draw.pairs[:, 0]], in_pool).any()
        if len(in_pool) - int(own) < self.mining.negatives:
            raise InvalidInput(
                f"The pool of {len(draw.pool):,} images drawn for epoch {epoch} has {len(in_pool)} labels, "
                f"too few for {self.mining.negatives} negatives of labels other than their anchor's. Draw "
                f"more: --set objective.pool_images={min(len(self._labelled), 2 * len(draw.pool))}."
            )
