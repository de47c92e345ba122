"""The contrastive loss on tuples with mined hard negatives, of the student alone or against the teacher.

In: the descriptors of a step's tuples, or of a labelled batch. Out: a scalar,
sum_p 1/2 d(a, p)^2 + sum_n 1/2 max(0, margin - d(a, n))^2 for each anchor, with
d(a, b) = ||a - b + 1e-6|| (:func:`student_trainer.distil.objectives.tuples.contrastive`).

``contrastive`` trains the supervised baseline of the paper's Table 2; no teacher is asked. Source: Radenovic,
Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (2018); Laskar and Kannala (2020),
Section 4, take ``margin=0.65``.

``asym-contrastive`` and ``asym-contrastive+``: the anchor by the student, positives and negatives by the
teacher. Source: Budnik and Avrithis, "Asymmetric metric learning for knowledge transfer" (2020), which takes
``margin=0.7``, 5 negatives, 2,000 anchors and a pool of 20,000.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from student_trainer.distil.objectives.distances import check_margin
from student_trainer.distil.objectives.tupled import TupleObjective, against_teacher, of_tuples
from student_trainer.distil.objectives.tuples import contrastive


@dataclass
class Contrastive(TupleObjective):
    """``contrastive``: anchors, positives and negatives by the student.

    Raises:
        InvalidInput: a setting is out of its range.
    """

    pool_images: int = 22_000
    margin: float = 0.7

    facts = of_tuples("contrastive")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_margin(self.margin, above_zero=True)

    def loss_of(self, anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """See :class:`TupleObjective`."""
        return contrastive(anchors, positives, negatives, self.margin)


@dataclass
class AsymContrastive(Contrastive):
    """``asym-contrastive``: anchors by the student, positives and negatives by the teacher.

    Raises:
        InvalidInput: a setting is out of its range.
    """

    pool_images: int = 20_000

    facts = against_teacher(Contrastive.facts)


@dataclass
class AsymContrastivePlus(AsymContrastive):
    """``asym-contrastive+``: the teacher's own descriptor of the anchor is a positive too.

    Raises:
        InvalidInput: a setting is out of its range.
    """

    facts = replace(AsymContrastive.facts, name="asym-contrastive+")
    itself_positive = True
