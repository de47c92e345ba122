"""Learning from tuples: what all losses of anchors, positives and hard negatives have in common.

In: descriptors of tuples that a training mined, or of a labelled batch in which they are mined now. Out: the
sum of the tuples' losses.

The anchor is always the student's. Positives and negatives are the student's too, or, in an asymmetric loss,
the teacher's: then the student learns to stand in the teacher's space, and the pool costs it nothing.

Source: Budnik and Avrithis, "Asymmetric metric learning for knowledge transfer" (2020): 2,000 anchors and a
pool of 20,000 images an epoch, 5 hard negatives, at most one of each label.
"""

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from student_trainer.distil.descriptors import unit_rows
from student_trainer.distil.heads import head_for, project
from student_trainer.distil.labels.of_batch import checked_labels
from student_trainer.distil.objectives.base import Facts, Objective, bought
from student_trainer.distil.tuples.draws import Mining
from student_trainer.distil.tuples.in_batch import tuples_of_batch
from student_trainer.errors import InvalidInput


@dataclass
class TupleObjective(Objective):
    """A loss over tuples; who describes positives and negatives is ``needs_teacher``'s to say.

    At the beginning of each epoch of a training ``anchors_per_epoch`` anchors are drawn, each with another
    image of its label, and for each the ``negatives`` most similar out of ``pool_images`` images of other
    labels, to the student as it is then, no two of the same label.

    Raises:
        InvalidInput: a setting is out of its range.
    """

    negatives: int = 5
    anchors_per_epoch: int = 2000
    pool_images: int = 20_000

    itself_positive: ClassVar[bool] = False
    """The teacher's own descriptor of the anchor is a positive too."""
    mining: Mining = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.mining = Mining(
            self.negatives, self.anchors_per_epoch, self.pool_images, by_teacher=self.needs_teacher
        )

    @abstractmethod
    def loss_of(self, anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """The summed loss of T tuples of unit descriptors: [T, d], [T, P, d], [T, N, d] -> scalar."""

    def into_teachers_space(self, units: Tensor) -> Tensor:
        """The student's unit rows [n, d] where the teacher's are: [n, D], by what was learned so far."""
        return project(units, self.head)

    def of_tuples(self, student: Tensor, teacher: Tensor | None = None) -> Tensor:
        """The loss of T tuples of 2 + ``negatives`` images: an anchor, a positive, and the negatives.

        Args:
            student: [T (2 + negatives), d], one tuple after another; of an asymmetric loss the anchors alone,
                [T, d].
            teacher: [T (2 + negatives), D], of all images of the tuples; looked at by an asymmetric loss.

        Raises:
            InvalidInput: these are no whole tuples, or the teacher is missing.
            BadDescriptors: a descriptor has no direction.
        """
        units = unit_rows(student, "student")
        others = self._by_teacher(teacher, units) if self.needs_teacher else units
        tuples = _whole_tuples(others, self.mining)
        anchors = self._queries(units, teacher) if self.needs_teacher else tuples[:, 0]
        return self.loss_of(anchors, tuples[:, 0 if self.itself_positive else 1 : 2], tuples[:, 2:])

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a labelled batch, in which tuples are mined now.

        Every image with another one of its label is an anchor. Its positive is the next image of the label in
        the batch (for the last the first), its negatives are the hardest, at most one of each label: fewer
        than ``negatives`` where the batch has few labels. An image labelled -1 is left out. A batch without
        two images of a label has loss 0.

        Args:
            student: [B, d].
            teacher: [B, D]; looked at by an asymmetric loss.
            labels: long [B].

        Raises:
            InvalidInput: labels or teacher are missing, or do not fit the batch.
            BadDescriptors: a descriptor has no direction.
        """
        units = unit_rows(student, "student")
        known = checked_labels(labels, len(units), self.name).to(units.device)
        pool = self._by_teacher(teacher, units) if self.needs_teacher else units
        queries = self._queries(units, teacher) if self.needs_teacher else units
        if pool.shape != queries.shape:
            raise InvalidInput(
                f"The objective {self.name} has {len(queries):,} descriptors by the student and "
                f"{len(pool):,} by the teacher: it needs both of each image of the batch."
            )
        found = tuples_of_batch(queries, pool, known, self.negatives)
        if not len(found.anchors):
            return units.sum() * 0.0
        positives = pool[found.positives][:, None]
        if self.itself_positive:
            positives = pool[torch.stack([found.anchors, found.positives], dim=1)]
        return self.loss_of(queries[found.anchors], positives, pool[found.negatives])

    def _queries(self, units: Tensor, teacher: Tensor | None) -> Tensor:
        return project(units, head_for(self, units, teacher))

    def _by_teacher(self, teacher: Tensor | None, units: Tensor) -> Tensor:
        """The teacher's unit rows, of the student's type and on its device; no gradient flows there."""
        known = bought(teacher, self.name).detach()
        return unit_rows(known.to(device=units.device, dtype=units.dtype), "teacher")


def _whole_tuples(units: Tensor, mining: Mining) -> Tensor:
    """[T (2 + N), d] -> [T, 2 + N, d]."""
    size = mining.tuple_images
    if len(units) % size:
        raise InvalidInput(
            f"A batch of tuples is {size} images for each: an anchor, an image of its label, and "
            f"{mining.negatives} of other labels; the batch has {len(units)} images."
        )
    return units.view(-1, size, units.shape[1])


def of_tuples(name: str) -> Facts:
    """What a loss is that takes anchors, positives and negatives from the student alone."""
    return Facts(
        name=name,
        needs_labels=True,
        needs_teacher=False,
        needs_white_box=False,
        in_teachers_space=False,
        learns_unlabelled=False,
        takes_several_labels=False,
        wants_classes=False,
    )


def against_teacher(alone: Facts) -> Facts:
    """What the same loss is whose positives and negatives are the teacher's."""
    return replace(alone, name=f"asym-{alone.name}", needs_teacher=True, in_teachers_space=True)
