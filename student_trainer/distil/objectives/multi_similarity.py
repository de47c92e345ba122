"""The multi-similarity loss on tuples with mined hard negatives, of the student alone or against the teacher.

In: the descriptors of a step's tuples, or of a labelled batch. Out: a scalar,
log(1 + sum_p exp(-alpha (c_p - threshold))) / alpha + log(1 + sum_n exp(beta (c_n - threshold))) / beta for
each anchor, with cosines c (:func:`student_trainer.distil.objectives.tuples.multi_similarity`). Which pairs
count is left to the mining of negatives; the source's own mining of pairs is not done.

Source: Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning" (2019).
Budnik and Avrithis, "Asymmetric metric learning for knowledge transfer" (2020), have the asymmetric form and
the settings: ``alpha=2``, ``beta=40``, ``threshold=0.5``, 5 negatives, 2,000 anchors and a pool of 20,000.
"""

from dataclasses import dataclass
from math import isfinite

from torch import Tensor

from student_trainer.distil.objectives.tupled import TupleObjective, against_teacher, of_tuples
from student_trainer.distil.objectives.tuples import multi_similarity
from student_trainer.errors import InvalidInput


@dataclass
class MultiSimilarity(TupleObjective):
    """``multi-similarity``: anchors, positives and negatives by the student.

    Raises:
        InvalidInput: a setting is out of its range.
    """

    alpha: float = 2.0
    beta: float = 40.0
    threshold: float = 0.5

    facts = of_tuples("multi-similarity")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InvalidInput(f"{name} = {value}: take a positive number.")
        if not -1 <= self.threshold <= 1:
            raise InvalidInput(f"threshold = {self.threshold}: take a cosine, from -1 to 1.")

    def loss_of(self, anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """See :class:`TupleObjective`."""
        return multi_similarity(anchors, positives, negatives, self.alpha, self.beta, self.threshold)


@dataclass
class AsymMultiSimilarity(MultiSimilarity):
    """``asym-multi-similarity``: anchors by the student, positives and negatives by the teacher.

    Raises:
        InvalidInput: a setting is out of its range.
    """

    facts = against_teacher(MultiSimilarity.facts)
