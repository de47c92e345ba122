"""``rkd-distance``: the distances of a batch, measured in their own mean, shall be the teacher's.

    L = mean_ij huber(D_S / mu_S - D_T / mu_T),    mu: the mean of a matrix's own entries that are > 0

In: descriptors by student and teacher. Out: a scalar. Settings: ``normalise_student=False``. Label-free; any
two dimensions. The mean over i, j is over all B^2 entries, the diagonal included; huber is smooth L1 with
delta 1.

Source: Park et al., "Relational Knowledge Distillation" (2019), distance-wise (RKD-D). Its authors compare
the teacher's unit descriptors with the student's as they are, which is the default here, too. The students of
this package end in a normalisation, so for their training the setting makes no difference; it does for
descriptors of other making.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.distances import distances
from student_trainer.distil.objectives.label_free import LabelFree, label_free, rows_pair


def rkd_distance(student: Tensor, teacher: Tensor, normalise_student: bool = False) -> Tensor:
    """The distance-wise loss of a batch.

    Args:
        student: [B, d]. The loss is differentiable in these, through their mean distance, too.
        teacher: [B, D], any D; row i is of the same image; taken at length 1.
        normalise_student: take the student's at length 1, too.

    Returns:
        A scalar. A matrix without a positive entry (one image, or equal ones) is taken as it is, all 0.

    Raises:
        InvalidInput: they are not of the same images.
        BadDescriptors: a row is zero or not finite.
    """
    student, teacher = rows_pair(student, teacher, normalise_student=normalise_student)
    return smooth_l1_loss(_in_their_mean(distances(student)), _in_their_mean(distances(teacher)))


def _in_their_mean(lengths: Tensor) -> Tensor:
    positive = (lengths > 0).sum()
    mean = lengths.sum() / positive.clamp(min=1)
    return lengths / mean.masked_fill(positive == 0, 1.0)


@dataclass
class RKDDistance(LabelFree):
    """:func:`rkd_distance`."""

    normalise_student: bool = False

    facts = label_free("rkd-distance")

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        return rkd_distance(student, bought(teacher, self.name), self.normalise_student)
