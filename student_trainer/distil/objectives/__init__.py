"""What a student can be trained on, by name.

In: a name. Out: a class whose keyword arguments are the settings; its instances are called with a batch.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from student_trainer.distil.objectives.absolute import AbsoluteDistance
from student_trainer.distil.objectives.attention import Attention
from student_trainer.distil.objectives.batch_hard import BatchHardTriplet
from student_trainer.distil.objectives.contrastive import (
    AsymContrastive,
    AsymContrastivePlus,
    Contrastive,
)
from student_trainer.distil.objectives.csd import CSD
from student_trainer.distil.objectives.csq import CentralSimilarity
from student_trainer.distil.objectives.darkrank_hard import DarkRankHard
from student_trainer.distil.objectives.darkrank_soft import DarkRankSoft
from student_trainer.distil.objectives.dch import DeepCauchyHashing
from student_trainer.distil.objectives.hint import Hint
from student_trainer.distil.objectives.lmt import LmtAbsolute, LmtRelative
from student_trainer.distil.objectives.mse import MeanSquaredError
from student_trainer.distil.objectives.multi_similarity import AsymMultiSimilarity, MultiSimilarity
from student_trainer.distil.objectives.pkt import PKT
from student_trainer.distil.objectives.rank import Rank, RankMixup
from student_trainer.distil.objectives.regression import Regression
from student_trainer.distil.objectives.relative import Relative
from student_trainer.distil.objectives.rkd import RKD
from student_trainer.distil.objectives.rkd_angle import RKDAngle
from student_trainer.distil.objectives.rkd_distance import RKDDistance
from student_trainer.distil.objectives.supervised_ap import SupervisedAP
from student_trainer.distil.objectives.triplet import AsymTriplet, Triplet
from student_trainer.distil.tuples.draws import Mining
from student_trainer.errors import InvalidInput
from student_trainer.nearest import nearest_or_all


class Objective(Protocol):
    """A loss over the descriptors of a batch.

    A random objective also has ``seed`` and ``step``: what it draws is a function of the two, ``step`` grows
    by one at each call, and whoever continues a training sets it. One that learns from tuples of its own
    choice instead of from every image in turn also has ``mining`` (:func:`mining_of`). One that learns from
    feature maps (:func:`needs_white_box`) is called with those of a pair of layers instead of descriptors.
    """

    name: str
    needs_labels: bool
    needs_teacher: bool

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """A scalar, differentiable in ``student`` [B, d].

        ``teacher`` [B, D] and ``labels`` long [B] are looked at if the objective needs them; one that has
        ``takes_several_labels`` also takes multi-hot rows [B, classes].
        """
        ...


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    kind.name: kind
    for kind in (
        RankMixup,
        Rank,
        Regression,
        AbsoluteDistance,
        Relative,
        RKDDistance,
        RKDAngle,
        RKD,
        DarkRankSoft,
        DarkRankHard,
        PKT,
        CSD,
        SupervisedAP,
        BatchHardTriplet,
        LmtAbsolute,
        LmtRelative,
        Contrastive,
        AsymContrastive,
        AsymContrastivePlus,
        Triplet,
        AsymTriplet,
        MultiSimilarity,
        AsymMultiSimilarity,
        MeanSquaredError,
        DeepCauchyHashing,
        CentralSimilarity,
        Hint,
        Attention,
    )
}


def mining_of(objective: Objective) -> Mining | None:
    """How its tuples are drawn and mined; None where batches are drawn from all images."""
    mining: Mining | None = getattr(objective, "mining", None)
    return mining


def needs_white_box(objective: Objective) -> bool:
    """Whether it learns from the teacher's feature maps, which no service shows."""
    return bool(getattr(objective, "needs_white_box", False))


def of_descriptors(objective: Objective) -> Objective | None:
    """Its part that is called with descriptors: itself, or what an objective on feature maps is added to."""
    part: Objective | None = getattr(objective, "of_descriptors", objective)
    return part


def get(name: str) -> Callable[..., Objective]:
    """The objective of that name, to be called with its settings: ``get("rank-mixup")(rounds=10)``.

    Raises:
        InvalidInput: there is none; the message suggests the nearest, up to three.
    """
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    raise InvalidInput(f"There is no objective {name!r}.{nearest_or_all(name, OBJECTIVES)}")
