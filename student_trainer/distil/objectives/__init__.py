"""What a student can be trained on, by name.

In: a name. Out: a class whose keyword arguments are the settings; its instances are called with a batch.
"""

from collections.abc import Callable

from student_trainer.distil.objectives.absolute import AbsoluteDistance
from student_trainer.distil.objectives.attention import Attention
from student_trainer.distil.objectives.base import Facts, Objective
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
from student_trainer.errors import InvalidInput
from student_trainer.nearest import nearest_or_all

__all__ = ["OBJECTIVES", "Facts", "Objective", "get"]


OBJECTIVES: dict[str, type[Objective]] = {
    kind.facts.name: kind
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


def get(name: str) -> Callable[..., Objective]:
    """The objective of that name, to be called with its settings: ``get("rank-mixup")(rounds=10)``.

    Raises:
        InvalidInput: there is none; the message suggests the nearest, up to four.
    """
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    raise InvalidInput(f"There is no objective {name!r}.{nearest_or_all(name, OBJECTIVES)}")
