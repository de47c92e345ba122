"""``relative``: two images shall be as far apart to the student as they are to the teacher.

    L = ||D_S - D_T||_F,    D the B x B Euclidean distances of unit rows; a norm, not a mean: it grows with B

In: descriptors by student and teacher. Out: a scalar. No settings. Label-free; any two dimensions.

Source: Yu et al., "Learning Metrics from Teachers: Compact Networks for Image Embedding" (2019), relative
teacher (LMT).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.distances import distances
from student_trainer.distil.objectives.label_free import LabelFree, label_free
from student_trainer.distil.rank_loss.problem import unit_pair


def relative(student: Tensor, teacher: Tensor) -> Tensor:
    """Frobenius norm of the difference of the two distance matrices.

    Args:
        student: [B, d]; need not be of length 1. The loss is differentiable in these.
        teacher: [B, D], any D; row i is of the same image.

    Returns:
        A scalar. 0 with gradient 0 where the matrices agree, so for one image, too.

    Raises:
        InvalidInput: they are not of the same images.
        BadDescriptors: a row is zero or not finite.
    """
    student, teacher = unit_pair(student, teacher)
    loss: Tensor = torch.linalg.vector_norm(distances(student) - distances(teacher))
    return loss


@dataclass
class Relative(LabelFree):
    """:func:`relative`."""

    facts = label_free("relative")

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        return relative(student, bought(teacher, self.name))
