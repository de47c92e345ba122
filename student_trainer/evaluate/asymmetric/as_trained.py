"""How a student's own training brings its queries into the teacher's space: by a projection, or by itself.

In: the student and the file of what was learned beside it. Out: its queries there, or why what lies beside it
is not to be used. Nothing is learned here.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from shared.checkpoints import weights_digest
from shared.learned_whitening import LearnedWhitening
from shared.network import DescriptorNet
from shared.tensor_files import CheckpointError
from shared.vectors import Float32Rows
from student_trainer.distil.heads import Head, read_head


@dataclass(frozen=True)
class AsTrained:
    """What a training left of a way into the teacher's space."""

    student_dim: int
    head: Head | None = None
    """The projection that was trained with the student; None where its own descriptors ask."""
    wrong: str = ""
    """Why what lies beside it is not to be used; empty where nothing is wrong."""

    @property
    def dim(self) -> int:
        """Of the queries; asymmetric search needs the teacher's."""
        return self.student_dim if self.head is None else self.head.out_dim

    @cached_property
    def projection(self) -> LearnedWhitening | None:
        """The head, for rows of any number."""
        if self.head is None:
            return None
        weights = self.head.linear.weight.detach().cpu().numpy().astype(np.float64)
        return LearnedWhitening(np.zeros(weights.shape[1]), weights)

    def apply(self, rows: Float32Rows) -> Float32Rows:
        """float32 [n, student's dim] -> [n, dim], unit rows."""
        return rows if self.projection is None else self.projection.apply(rows)


def as_trained(student: DescriptorNet, beside: Path | None) -> AsTrained:
    """The way of a student.

    Args:
        student: whose weights what lies beside it must have been trained with.
        beside: ``RUN/head.safetensors``, which need not be there. A hash layer is no way: then its own
            descriptors ask.
    """
    if beside is None or not beside.is_file():
        return AsTrained(student.dim)
    try:
        saved = read_head(beside)
    except CheckpointError as error:
        return AsTrained(student.dim, wrong=f"what was trained with it cannot be read: {error}")
    if saved.head.kind != "projection":
        return AsTrained(student.dim)
    if saved.student_digest != weights_digest(student):
        return AsTrained(student.dim, wrong="the projection beside it was trained with another student")
    if saved.head.in_dim != student.dim:
        wrong = (
            f"the projection beside it takes {saved.head.in_dim:,} dimensions, and its descriptors have "
            f"{student.dim:,}"
        )
        return AsTrained(student.dim, wrong=wrong)
    return AsTrained(student.dim, saved.head)
