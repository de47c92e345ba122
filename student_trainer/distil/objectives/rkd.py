"""``rkd``: distances and triplet angles of a batch together.

    L = distance_weight * rkd-distance + angle_weight * rkd-angle

In: descriptors by student and teacher. Out: a scalar. Settings: ``distance_weight=1.0, angle_weight=2.0,
normalise_student=False``. Label-free; any two dimensions. Its time is that of ``rkd-angle``.

Source: Park et al., "Relational Knowledge Distillation" (2019), RKD-DA and its weights for metric learning.
"""

from dataclasses import dataclass
from math import isfinite

from torch import Tensor

from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.label_free import LabelFree, label_free
from student_trainer.distil.objectives.rkd_angle import rkd_angle
from student_trainer.distil.objectives.rkd_distance import rkd_distance
from student_trainer.errors import InvalidInput


def rkd(
    student: Tensor,
    teacher: Tensor,
    distance_weight: float = 1.0,
    angle_weight: float = 2.0,
    normalise_student: bool = False,
) -> Tensor:
    """The weighted sum of :func:`rkd_distance` and :func:`rkd_angle`, which say the rest.

    Args:
        student: [B, d]. The loss is differentiable in these.
        teacher: [B, D], any D; row i is of the same image; taken at length 1.
        distance_weight: of the distances.
        angle_weight: of the angles.
        normalise_student: take the student's at length 1, too.

    Raises:
        InvalidInput: they are not of the same images.
        BadDescriptors: a row is zero or not finite.
    """
    by_distance = rkd_distance(student, teacher, normalise_student)
    return distance_weight * by_distance + angle_weight * rkd_angle(student, teacher, normalise_student)


@dataclass
class RKD(LabelFree):
    """:func:`rkd`.

    Raises:
        InvalidInput: a weight is negative or not finite, or both are 0.
    """

    distance_weight: float = 1.0
    angle_weight: float = 2.0
    normalise_student: bool = False

    facts = label_free("rkd")

    def __post_init__(self) -> None:
        weights = (self.distance_weight, self.angle_weight)
        if not (all(isfinite(weight) and weight >= 0 for weight in weights) and sum(weights) > 0):
            raise InvalidInput(
                f"distance_weight = {self.distance_weight}, angle_weight = {self.angle_weight}: take numbers "
                "from 0 up, at least one of them above 0."
            )

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        teacher = bought(teacher, self.name)
        return rkd(student, teacher, self.distance_weight, self.angle_weight, self.normalise_student)
