"""The triplet loss on tuples with mined hard negatives, of the student alone or against the teacher.

In: the descriptors of a step's tuples, or of a labelled batch. Out: a scalar,
sum_p sum_n max(0, ||a - p||^2 - ||a - n||^2 + margin) for each anchor
(:func:`student_trainer.distil.objectives.tuples.triplet`).

Source: Wang et al., "Learning Fine-grained Image Similarity with Deep Ranking" (2014). Budnik and Avrithis,
"Asymmetric metric learning for knowledge transfer" (2020), have the asymmetric form and the settings:
``margin=0.1``, 5 negatives, 2,000 anchors and a pool of 20,000.
"""

from dataclasses import dataclass

from torch import Tensor

from student_trainer.distil.objectives.tupled import TupleObjective, against_teacher, of_tuples
from student_trainer.distil.objectives.tuples import triplet
from student_trainer.errors import InvalidInput

FARTHEST_SQUARED = 4.0
"""Of two unit descriptors."""


@dataclass
class Triplet(TupleObjective):
    """``triplet``: anchors, positives and negatives by the student.

    Raises:
        InvalidInput: a setting is out of its range.
    """

    margin: float = 0.1

    facts = of_tuples("triplet")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.margin <= FARTHEST_SQUARED:
            raise InvalidInput(
                f"margin = {self.margin}: take a squared distance from 0 to {FARTHEST_SQUARED:g}, the "
                "largest of two unit descriptors."
            )

    def loss_of(self, anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """See :class:`TupleObjective`."""
        return triplet(anchors, positives, negatives, self.margin)


@dataclass
class AsymTriplet(Triplet):
    """``asym-triplet``: anchors by the student, positives and negatives by the teacher.

    Raises:
        InvalidInput: a setting is out of its range.
    """

    facts = against_teacher(Triplet.facts)
