"""``mse``: context-unaware distillation, the first step of hashing without a teacher of one's own.

    L = scale^2 / (B D) * sum_ij (s_ij - t_ij)^2,    s, t unit rows of one dimension D

In: descriptors by student and teacher. Out: a scalar. Label-free; the student ends in the teacher's space,
through a learned bias-free projection where the dimensions differ.

Source: "Context Unaware Knowledge Distillation for Image Retrieval" (2022), step 1: the teacher is a network
that was trained on ImageNet and never on the images at hand ("unaware" of their context), the student is
drawn to its features by their mean squared error. Default: ``scale`` 1, the plain mean squared error of unit
vectors.

What is different here: the published teacher shows its features as they are, a black box sells unit
descriptors. So the student learns a feature's direction and not its length. Codes do not need the length: the
sign of a hash layer's output hardly depends on it. But unit vectors make the mean over D components smaller
than that of raw features, whose components are about 1: by about D, to the size of what Adam adds to its
denominators (1e-8). With ``scale`` = sqrt(D) both descriptors are lengthened until their components have mean
square 1, as a feature's do.
"""

from dataclasses import dataclass
from math import isfinite

from torch import Tensor

from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.label_free import LabelFree, label_free, same_space
from student_trainer.errors import InvalidInput


def mean_squared_error(student: Tensor, teacher: Tensor, scale: float = 1.0) -> Tensor:
    """The mean over images and components of the squared difference, both lengthened to ``scale``.

    Args:
        student: [B, D]; need not be of length 1. The loss is differentiable in these.
        teacher: [B, D]; row i is of the same image.
        scale: the length to which both are brought.

    Returns:
        A scalar between 0 and 4 scale^2 / D.

    Raises:
        InvalidInput: the shapes do not belong together.
        BadDescriptors: a row is zero or not finite.
    """
    student, teacher = same_space(student, teacher)
    return scale**2 * (student - teacher).square().mean()


@dataclass
class MeanSquaredError(LabelFree):
    """:func:`mean_squared_error`, in the teacher's space.

    Raises:
        InvalidInput: ``scale`` is not a positive number.
    """

    scale: float = 1.0

    facts = label_free("mse", in_teachers_space=True)

    def __post_init__(self) -> None:
        if not (isfinite(self.scale) and self.scale > 0):
            raise InvalidInput(
                f"scale = {self.scale}: the length that descriptors are brought to is positive, such as 1, "
                "or the root of the teacher's dimension."
            )

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        teacher = bought(teacher, self.name)
        return mean_squared_error(self.projected(student, teacher), teacher, self.scale)
