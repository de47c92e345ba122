"""``csd``: the student, as a query, shall see the teacher's nearest images as similar as the teacher does.

    L = 1/B sum_i sum_{j in N_i} p_ij (log p_ij - log q_ij)
    p_i = softmax_j(t_i . t_j / temperature),    q_i = softmax_j(s_i . t_j / temperature)
    N_i: the k nearest to i by the teacher, i itself included

In: descriptors by student and teacher. Out: a scalar. Settings: ``k=10, temperature=0.1``. Label-free; the
student ends in the teacher's space, through a learned bias-free projection where the dimensions differ.

Source: Wu et al., "Contextual Similarity Distillation for Asymmetric Image Retrieval" (2022).
"""

from dataclasses import dataclass
from math import isfinite

from torch import Tensor

from student_trainer.distil.descriptors import similarities
from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.label_free import LabelFree, label_free, same_space
from student_trainer.errors import InvalidInput


def csd(student: Tensor, teacher: Tensor, k: int = 10, temperature: float = 0.1) -> Tensor:
    """KL divergence of the student's contextual similarities from the teacher's, mean over images.

    Args:
        student: [B, D]; need not be of length 1. The loss is differentiable in these.
        teacher: [B, D]; row i is of the same image.
        k: images in a context, the image itself included; in a smaller batch all of it.
        temperature: of both distributions.

    Returns:
        A scalar; 0 where the two agree, and for a batch of one image.

    Raises:
        InvalidInput: the shapes do not belong together.
        BadDescriptors: a row is zero or not finite.
    """
    student, teacher = same_space(student, teacher)
    among_teachers = similarities(teacher)
    # In float64, which no setting of the caller rounds, forward or backward.
    to_teachers = (student.double() @ teacher.double().T).to(student.dtype)
    context = among_teachers.sort(dim=1, descending=True, stable=True).indices[:, :k]
    target, log_found = (
        (rows.gather(1, context) / temperature).log_softmax(dim=1) for rows in (among_teachers, to_teachers)
    )
    return (target.exp() * (target - log_found)).sum() / len(student)


@dataclass
class CSD(LabelFree):
    """:func:`csd`, in the teacher's space.

    Raises:
        InvalidInput: a setting is out of its range.
    """

    k: int = 10
    temperature: float = 0.1

    facts = label_free("csd", in_teachers_space=True)

    def __post_init__(self) -> None:
        if self.k != int(self.k) or self.k < 2:
            raise InvalidInput(
                f"k = {self.k}: a context is a whole number of images, 2 or more, itself included."
            )
        if not (isfinite(self.temperature) and self.temperature > 0):
            raise InvalidInput(f"temperature = {self.temperature}: take a number above 0.")

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        teacher = bought(teacher, self.name)
        return csd(self.projected(student, teacher), teacher, self.k, self.temperature)
