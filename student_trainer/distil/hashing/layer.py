"""The hash layer: an objective's head that makes K numbers of a descriptor, whose signs are the code.

In: descriptors of a batch. Out: the layer's K numbers for each image, before any squashing.

The layer is trained with the student and lies beside it in ``RUN/head.safetensors``; the student itself stays
a descriptor network. Nothing of a teacher is looked at.
"""

from dataclasses import dataclass, field

from torch import Tensor

from student_trainer.distil.descriptors import unit_rows
from student_trainer.distil.heads import Head, head_for
from student_trainer.errors import InvalidInput

FEWEST_BITS, MOST_BITS = 4, 4096


@dataclass
class HashObjective:
    """What objectives with a hash layer have in common. They learn from labels, one or several an image.

    Raises:
        InvalidInput: ``bits`` is not a whole number from 4 to 4,096.
    """

    bits: int

    name: str = field(default="", init=False, repr=False)
    needs_labels: bool = field(default=True, init=False, repr=False)
    needs_teacher: bool = field(default=False, init=False, repr=False)
    needs_white_box: bool = field(default=False, init=False, repr=False)
    in_teachers_space: bool = field(default=False, init=False, repr=False)
    takes_several_labels: bool = field(default=True, init=False, repr=False)
    head: Head | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.bits != int(self.bits) or not FEWEST_BITS <= self.bits <= MOST_BITS:
            raise InvalidInput(
                f"bits = {self.bits}: a code has a whole number of bits, from {FEWEST_BITS} to {MOST_BITS:,}."
            )

    def make_head(self, student_dim: int, teacher_dim: int | None, seed: int) -> Head:
        """The hash layer with its initial weights; the teacher's dimension does not matter."""
        return Head("hash", student_dim, self.bits, bias=True, seed=seed)

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
