"""What every objective has in common: what it says of itself, and how the course of a training speaks to it.

In: :class:`Facts`, stated by each objective in full. Out: :class:`Objective`, a loss over the descriptors of
a batch, whose head is the one that its facts ask for.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from student_trainer.distil.descriptors import unit_rows
from student_trainer.distil.heads import Head, head_for, project
from student_trainer.distil.tuples.draws import Mining
from student_trainer.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What an objective is; nothing of it has a default, so that nobody can forget or misspell it."""

    name: str
    needs_labels: bool
    needs_teacher: bool
    """The bought descriptors."""
    needs_white_box: bool
    """The teacher's feature maps, which no service shows; it is called with those of a pair of layers."""
    in_teachers_space: bool
    """Its students can be compared with the teacher, through the head if there is one."""
    learns_unlabelled: bool
    """It needs labels, and images without one teach it something too."""
    takes_several_labels: bool
    """Multi-hot rows [B, classes] will do for labels."""
    wants_classes: bool
    """It has to know how many classes there are in all, which no batch shows."""


class Objective(ABC):
    """A loss over the descriptors of a batch; a subclass states its ``facts``.

    A random objective draws as a function of its seed and of the step (:meth:`at_step`), which whoever
    continues a training sets. One that learns from tuples of its own choice instead of from every image in
    turn has ``mining``.
    """

    facts: Facts
    head: Head | None = None
    """What it learns of its own: made by :meth:`make_head`, at the beginning of a training or of a call."""
    mining: Mining | None = None
    """How its tuples are drawn and mined; None where batches are drawn from all images."""

    @abstractmethod
    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """A scalar, differentiable in ``student`` [B, d].

        ``teacher`` [B, D] and ``labels`` long [B] are looked at if the objective needs them.
        """

    @property
    def name(self) -> str:
        """By which it is found."""
        return self.facts.name

    @property
    def needs_labels(self) -> bool:
        """Whether it learns from labels."""
        return self.facts.needs_labels

    @property
    def needs_teacher(self) -> bool:
        """Whether it learns from bought descriptors."""
        return self.facts.needs_teacher

    @property
    def of_descriptors(self) -> "Objective | None":
        """Its part that is called with descriptors: itself, or what one on feature maps is added to."""
        return self

    def at_step(self, step: int) -> None:
        """Let the next call be that of this step, counted from 0; of interest to those that draw."""
        return

    def check_batch(self, images: int) -> None:
        """Refuse batches of so many images, where they hold nothing that it could learn from.

        Raises:
            InvalidInput: so it is.
        """
        return

    def for_classes(self, classes: int) -> None:
        """Be told how many classes there are in all; asked of those that want to know it.

        Raises:
            InvalidInput: these are too many.
        """
        return

    def make_head(self, student_dim: int, teacher_dim: int | None, seed: int) -> Head | None:
        """A projection from d to D with its initial weights, into the teacher's space.

        None where the student need not go there, and where D is the same, or not known.
        """
        if not self.facts.in_teachers_space or teacher_dim in (None, student_dim):
            return None
        assert teacher_dim is not None
        return Head("projection", student_dim, teacher_dim, seed=seed)

    def projected(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The student's [B, d] as unit rows [B, D] in the space of the teacher's [B, D].

        Raises:
            InvalidInput: not matrices, or the head is for other dimensions.
            BadDescriptors: a row has no direction.
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
