"""What the label-free objectives have in common: what they say of themselves, and how they take a batch.

In: the descriptors of a batch by student and teacher. Out: rows that fit together; where an objective
compares an image's two descriptors with each other, the student's come in the teacher's space.
"""

from dataclasses import dataclass, field

from torch import Tensor

from student_trainer.distil.descriptors import unit_rows
from student_trainer.distil.heads import Head, head_for, project
from student_trainer.distil.rank_loss.problem import unit_pair
from student_trainer.errors import InvalidInput


@dataclass
class LabelFree:
    """An objective that learns from bought descriptors alone: no labels, no white box."""

    needs_labels: bool = field(default=False, init=False, repr=False)
    needs_teacher: bool = field(default=True, init=False, repr=False)
    needs_white_box: bool = field(default=False, init=False, repr=False)
    in_teachers_space: bool = field(default=False, init=False, repr=False)
    """Whether its students can be compared with the teacher, through the head if there is one."""


@dataclass
class InTeachersSpace(LabelFree):
    """A label-free objective that puts the student into the teacher's space, so both may search together.

    Where the dimensions differ it learns a bias-free projection, which is trained and saved beside the
    student.
    """

    in_teachers_space: bool = field(default=True, init=False, repr=False)
    head: Head | None = field(default=None, init=False, repr=False)

    def make_head(self, student_dim: int, teacher_dim: int | None, seed: int) -> Head | None:
        """A projection from d to D with its initial weights; None where D is the same, or not known."""
        if teacher_dim is None or teacher_dim == student_dim:
            return None
        return Head("projection", student_dim, teacher_dim, seed=seed)

    def projected(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The student's [B, d] as unit rows [B, D] in the space of the teacher's [B, D].

        Raises:
            InvalidInput: not matrices, or the head is for other dimensions.
            BadDescriptors: a row of the student's has no direction.
        """
        units, _ = unit_rows(student, "student"), unit_rows(teacher, "teacher")
        return project(units, head_for(self, units, teacher))


def bought(teacher: Tensor | None, name: str) -> Tensor:
    """The teacher's descriptors, which the objective ``name`` cannot do without.

    Raises:
        InvalidInput: there are none.
    """
    if teacher is None:
        raise InvalidInput(f"The objective {name} needs the teacher's descriptors of the batch.")
    return teacher


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
