"""The hash layer: an objective's head that makes K numbers of a descriptor, whose signs are the code.

In: descriptors of a batch. Out: the layer's K numbers for each image, before any squashing.

The layer is trained with the student and lies beside it in ``RUN/head.safetensors``; the student itself stays
a descriptor network. Nothing of a teacher is looked at.
"""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from student_trainer.distil.descriptors import unit_rows
from student_trainer.distil.heads import Head, head_for
from student_trainer.distil.labels.of_batch import checked_labels, has_label
from student_trainer.distil.objectives.base import Facts, Objective
from student_trainer.errors import InvalidInput

FEWEST_BITS, MOST_BITS = 4, 4096


def of_codes(name: str, *, wants_classes: bool) -> Facts:
    """What an objective with a hash layer is."""
    return Facts(
        name=name,
        needs_labels=True,
        needs_teacher=False,
        needs_white_box=False,
        in_teachers_space=False,
        learns_unlabelled=False,
        takes_several_labels=True,
        wants_classes=wants_classes,
    )


@dataclass
class HashObjective(Objective):
    """What objectives with a hash layer have in common. They learn from labels, one or several an image.

    Raises:
        InvalidInput: ``bits`` is not a whole number from 4 to 4,096.
    """

    bits: int

    def __post_init__(self) -> None:
        if not FEWEST_BITS <= self.bits <= MOST_BITS or self.bits != int(self.bits):
            raise InvalidInput(
                f"bits = {self.bits}: a code has a whole number of bits, from {FEWEST_BITS} to {MOST_BITS:,}."
            )
        self.bits = int(self.bits)  # who gives 64.0 means 64

    def make_head(self, student_dim: int, teacher_dim: int | None, seed: int) -> Head:
        """The hash layer with its initial weights; the teacher's dimension does not matter."""
        return Head("hash", student_dim, self.bits, bias=True, seed=seed)

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and labels; ``teacher`` is not looked at.

        It is that of the labelled images; without any it is 0.
        """
        values = self.hash_values(student)
        labels = checked_labels(labels, len(values), self.name, several=True).to(values.device)
        labelled = has_label(labels)
        if not labelled.any():
            return values.sum() * 0.0
        return self.of_labelled(values[labelled], labels[labelled])

    @abstractmethod
    def of_labelled(self, values: Tensor, labels: Tensor) -> Tensor:
        """The loss of the layer's numbers [n, bits], n >= 1, and of labels [n] or [n, classes]."""

    def hash_values(self, student: Tensor) -> Tensor:
        """The layer's output [B, bits] for the student's descriptors [B, d].

        Raises:
            InvalidInput: not a matrix, or the layer is for descriptors of another dimension.
            BadDescriptors: a row has no direction.
        """
        units = unit_rows(student, "student")
        head = head_for(self, units, None)
        assert head is not None  # make_head always makes one
        values: Tensor = head(units)
        return values
