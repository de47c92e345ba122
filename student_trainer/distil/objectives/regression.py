"""``regression``: each of the student's descriptors shall be the teacher's.

    L = mean_i 1/2 ||s_i - t_i||^2,    s, t unit rows of one dimension

In: descriptors by student and teacher. Out: a scalar. No settings. Label-free; the student ends in the
teacher's space, through a learned bias-free projection where the dimensions differ.

Source: Budnik and Avrithis, "Asymmetric metric learning for knowledge transfer" (2020), regression (Reg).
"""

from dataclasses import dataclass

from torch import Tensor

from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.label_free import LabelFree, label_free, same_space


def regression(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the squared distance of an image's two descriptors, mean over the batch.

    Args:
        student: [B, D]; need not be of length 1. The loss is differentiable in these.
        teacher: [B, D]; row i is of the same image.

    Returns:
        A scalar between 0 and 2: one minus the mean cosine.

    Raises:
        InvalidInput: the shapes do not belong together.
        BadDescriptors: a row is zero or not finite.
    """
    student, teacher = same_space(student, teacher)
    return 0.5 * (student - teacher).square().sum(dim=1).mean()


@dataclass
class Regression(LabelFree):
    """:func:`regression`, in the teacher's space."""

    facts = label_free("regression", in_teachers_space=True)

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        teacher = bought(teacher, self.name)
        return regression(self.projected(student, teacher), teacher)
