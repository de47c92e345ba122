"""What the label-free objectives have in common: what they say of themselves, and how they take a batch.

In: the descriptors of a batch by student and teacher. Out: rows that fit together; where an objective
compares an image's two descriptors with each other, the student's come in the teacher's space.
"""

from torch import Tensor

from student_trainer.distil.objectives.base import Facts, Objective
from student_trainer.distil.rank_loss.problem import unit_pair
from student_trainer.errors import InvalidInput


class LabelFree(Objective):
    """An objective that learns from bought descriptors alone: no labels, no white box."""


def label_free(name: str, *, in_teachers_space: bool = False) -> Facts:
    """What such an objective is; in the teacher's space, both may search together.

    Where the dimensions differ it then learns a bias-free projection, which is trained and saved beside the
    student.
    """
    return Facts(
        name=name,
        needs_labels=False,
        needs_teacher=True,
        needs_white_box=False,
        in_teachers_space=in_teachers_space,
        learns_unlabelled=False,
        takes_several_labels=False,
        wants_classes=False,
    )


def same_space(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both as unit rows, [B, D] each.

    Raises:
        InvalidInput: they are not of the same images, or not of one dimension.
        BadDescriptors: a row has no direction.
    """
    student, teacher = unit_pair(student, teacher)
    if student.shape != teacher.shape:
        raise InvalidInput(
            f"The student's descriptors have {student.shape[1]:,} dimensions and the teacher's "
            f"{teacher.shape[1]:,}, so they cannot be compared with each other. Project the student's first, "
            "as the objective does that is found by name."
        )
    return student, teacher


def rows_pair(student: Tensor, teacher: Tensor, *, normalise_student: bool) -> tuple[Tensor, Tensor]:
    """The teacher's unit rows, and the student's rows as they are or of length 1.

    Raises:
        InvalidInput: they are not of the same images.
        BadDescriptors: a row is zero or not finite.
    """
    units, teacher = unit_pair(student, teacher)
    return (units if normalise_student else student.to(units.dtype)), teacher
