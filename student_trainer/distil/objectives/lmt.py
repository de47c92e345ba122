"""``lmt-absolute``, ``lmt-relative``: a metric learned from labels, and beside them from a teacher.

    L = batch-hard triplet (margin 0) + weight x KD,    KD one of ``absolute`` and ``relative``

In: descriptors by student and teacher, and labels. Out: a scalar. The KD term is taken over the whole batch,
the triplet over its labelled images: so on images without a label (-1) the student learns from the teacher
alone, the paper's semi-supervised setting.

Source: Yu et al., "Learning Metrics from Teachers: Compact Networks for Image Embedding" (2019); weights of
its public code, where both networks' descriptors have 512 dimensions:

    data set                   absolute   relative
    CUB-200-2011 (default)        1.0        0.3
    Cars-196                      1.5        0.1
    Stanford Online Products      2.0        1.0
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from math import isfinite

from torch import Tensor

from student_trainer.distil.labels.of_batch import checked_labels
from student_trainer.distil.objectives.absolute import absolute
from student_trainer.distil.objectives.base import Facts, Objective, bought
from student_trainer.distil.objectives.batch_hard import batch_hard_triplet
from student_trainer.distil.objectives.distances import check_margin
from student_trainer.distil.objectives.relative import relative
from student_trainer.errors import InvalidInput

_FACTS = Facts(
    name="lmt",
    needs_labels=True,
    needs_teacher=True,
    needs_white_box=False,
    in_teachers_space=False,
    learns_unlabelled=True,
    takes_several_labels=False,
    wants_classes=False,
)


@dataclass
class _Lmt(Objective):
    """The sum; a subclass says which distillation.

    Raises:
        InvalidInput: a setting is out of its range, or a call lacks labels or the teacher's descriptors.
    """

    weight: float
    margin: float = 0.0

    def __post_init__(self) -> None:
        check_margin(self.margin)
        if not (isfinite(self.weight) and self.weight >= 0):
            raise InvalidInput(f"weight = {self.weight}: weigh the teacher by a number from 0 up.")

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d], teacher [B, D] and labels long [B], -1 where there is none."""
        teacher = bought(teacher, self.name)
        known = checked_labels(labels, len(student), self.name).to(student.device)
        triplets = batch_hard_triplet(student, known, self.margin)
        return triplets + self.weight * self.distillation(student, teacher)

    @abstractmethod
    def distillation(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The KD term of student [B, d] and teacher [B, D]: a scalar."""


@dataclass
class LmtAbsolute(_Lmt):
    """With ``absolute``: the student ends in the teacher's space, through a projection if it is smaller."""

    weight: float = 1.0

    facts = replace(_FACTS, name="lmt-absolute", in_teachers_space=True)

    def distillation(self, student: Tensor, teacher: Tensor) -> Tensor:
        """:func:`absolute`, in the teacher's space; the triplets are of the student's own descriptors."""
        return absolute(self.projected(student, teacher), teacher)


@dataclass
class LmtRelative(_Lmt):
    """With ``relative``: any two dimensions."""

    weight: float = 0.3

    facts = replace(_FACTS, name="lmt-relative")

    def distillation(self, student: Tensor, teacher: Tensor) -> Tensor:
        """:func:`relative`."""
        return relative(student, teacher)
