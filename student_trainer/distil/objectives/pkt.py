"""``pkt``: an image shall draw another as its neighbour as probably as by the teacher.

    L = 1/B^2 sum_ij p_T log((p_T + 1e-7) / (p_S + 1e-7)),    p_ij = k_ij / sum_j k_ij,    k = (cos + 1) / 2

In: descriptors by student and teacher. Out: a scalar. No settings. Label-free; any two dimensions. The
diagonal stands in rows and sums.

Source: Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer" (2018), with
the cosine kernel; the 1e-7 and the mean over all entries as in the authors' public code.
"""

from dataclasses import dataclass

from torch import Tensor

from student_trainer.distil.descriptors import similarities
from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.label_free import LabelFree, label_free
from student_trainer.distil.rank_loss.problem import unit_pair

EPSILON = 1e-7
"""Keeps the logarithm of an image that is opposite to another finite."""


def pkt(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all entries of the divergence between the two matrices of probabilities.

    Args:
        student: [B, d]; need not be of length 1. The loss is differentiable (once) in these.
        teacher: [B, D], any D; row i is of the same image.

    Returns:
        A scalar; 0 where the two agree, and for a batch of one image.

    Raises:
        InvalidInput: they are not of the same images.
        BadDescriptors: a row is zero or not finite.
    """
    student, teacher = unit_pair(student, teacher)
    by_student, by_teacher = _probabilities(student), _probabilities(teacher)
    return (by_teacher * ((by_teacher + EPSILON) / (by_student + EPSILON)).log()).mean()


def _probabilities(units: Tensor) -> Tensor:
    # A cosine may round to just under -1, and a kernel is not negative.
    kernel = (0.5 * (similarities(units) + 1)).clamp(min=0)
    return kernel / kernel.sum(dim=1, keepdim=True)


@dataclass
class PKT(LabelFree):
    """:func:`pkt`."""

    facts = label_free("pkt")

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        return pkt(student, bought(teacher, self.name))
