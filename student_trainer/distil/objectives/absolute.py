"""``absolute``: each of the student's descriptors shall be near the teacher's.

    L = mean_i ||s_i - t_i + 1e-6||,    s, t unit rows of one dimension, 1e-6 added to every component

In: descriptors by student and teacher. Out: a scalar. No settings. Label-free; the student ends in the
teacher's space, through a learned bias-free projection where the dimensions differ. Beside ``regression`` its
gradient does not fade as the two come near.

Source: Yu et al., "Learning Metrics from Teachers: Compact Networks for Image Embedding" (2019), absolute
teacher (LMT); the 1e-6 as the field's pairwise distance has it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.label_free import LabelFree, label_free, same_space
from student_trainer.distil.objectives.tuples import EPSILON


def absolute(student: Tensor, teacher: Tensor) -> Tensor:
    """The distance of an image's two descriptors, mean over the batch.

    Args:
        student: [B, D]; need not be of length 1. The loss is differentiable in these.
        teacher: [B, D]; row i is of the same image.

    Returns:
        A scalar up to 2; where the two agree, 1e-6 sqrt(D).

    Raises:
        InvalidInput: the shapes do not belong together.
        BadDescriptors: a row is zero or not finite.
    """
    student, teacher = same_space(student, teacher)
    gaps: Tensor = torch.linalg.vector_norm(student - teacher + EPSILON, dim=1)
    return gaps.mean()


@dataclass
class AbsoluteDistance(LabelFree):
    """:func:`absolute`, in the teacher's space."""

    facts = label_free("absolute", in_teachers_space=True)

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        teacher = bought(teacher, self.name)
        return absolute(self.projected(student, teacher), teacher)
