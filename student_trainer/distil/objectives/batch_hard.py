"""``batch-hard-triplet``: an image's farthest positive shall be nearer than its nearest negative.

    L = mean_i [max_p d(i, p) - min_n d(i, n) + margin]_+,    d Euclidean distance of unit rows

In: the student's descriptors of a batch, and labels. Out: a scalar. No teacher is asked. It wants batches in
which labels have several images: ``training.sampling = "balanced"``.

Source: Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification" (2017), Batch
Hard. Default margin 0, as Yu et al., "Learning Metrics from Teachers" (2019) have it.
"""

from dataclasses import dataclass
from math import inf

from torch import Tensor

from student_trainer.distil.descriptors import unit_rows
from student_trainer.distil.labels.of_batch import checked_labels, has_label
from student_trainer.distil.objectives.base import Facts, Objective
from student_trainer.distil.objectives.distances import check_margin, distances


def batch_hard_triplet(student: Tensor, labels: Tensor, margin: float = 0.0) -> Tensor:
    """The mean over the images that have both a positive and a negative in the batch.

    Args:
        student: [B, d]; need not be of length 1. The loss is differentiable in these.
        labels: long [B]. Images labelled -1 are neither anchors nor positives nor negatives, and an image
            that is alone with its label is a negative only.
        margin: a distance.

    Returns:
        A scalar. 0 with gradient 0 where no image has both, as in a batch of one label, or without labels.

    Raises:
        BadDescriptors: a row is zero or not finite.
    """
    units = unit_rows(student, "student")
    known = has_label(labels)
    both_known = known[:, None] & known
    alike = (labels[:, None] == labels) & both_known
    negative = both_known & ~alike
    positive = alike.fill_diagonal_(False)
    anchors = positive.any(1) & negative.any(1)
    if not anchors.any():
        return (units * 0.0).sum()
    gaps = distances(units)[anchors]
    farthest = gaps.masked_fill(~positive[anchors], -inf).max(1).values
    nearest = gaps.masked_fill(~negative[anchors], inf).min(1).values
    return (farthest - nearest + margin).clamp(min=0).mean()


@dataclass
class BatchHardTriplet(Objective):
    """:func:`batch_hard_triplet`.

    Raises:
        InvalidInput: the margin is out of its range, or the labels are missing or do not fit the batch.
    """

    margin: float = 0.0

    facts = Facts(
        name="batch-hard-triplet",
        needs_labels=True,
        needs_teacher=False,
        needs_white_box=False,
        in_teachers_space=False,
        learns_unlabelled=False,
        takes_several_labels=False,
        wants_classes=False,
    )

    def __post_init__(self) -> None:
        check_margin(self.margin)

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and labels long [B]; ``teacher`` is not looked at."""
        known = checked_labels(labels, len(student), self.name).to(student.device)
        return batch_hard_triplet(student, known, self.margin)
