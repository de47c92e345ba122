"""The supervised listwise AP loss: images of the same label shall rank first.

In: a batch's descriptors and labels. Out: a scalar. It trains teachers and the supervised baselines; no
teacher is asked.

Source: Revaud et al., "Learning with Average Precision: Training Image Retrieval with a Listwise Loss",
2019.
"""

from dataclasses import dataclass

from torch import Tensor

from student_trainer.distil.average_precision import Bins, square_ap_loss
from student_trainer.distil.descriptors import similarities, unit_rows
from student_trainer.distil.labels.of_batch import checked_labels, has_label
from student_trainer.distil.objectives.base import Facts, Objective


@dataclass
class SupervisedAP(Objective):
    """``ap``: 1 - quantised AP of each labelled image among the labelled images of the batch.

    Images labelled -1 are left out, as queries and from the lists. An image whose label is alone in the batch
    has itself to find (``include_self``), or loss 0; so has a batch without labels.

    Raises:
        InvalidInput: a setting is out of its range, or the labels are missing or do not fit the batch.
    """

    bins: int = 20
    low: float = -1.0
    high: float = 1.0
    include_self: bool = True

    facts = Facts(
        name="ap",
        needs_labels=True,
        needs_teacher=False,
        needs_white_box=False,
        in_teachers_space=False,
        learns_unlabelled=False,
        takes_several_labels=False,
        wants_classes=False,
    )

    def __post_init__(self) -> None:
        Bins(self.bins, self.low, self.high)

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and labels long [B]; ``teacher`` is not looked at."""
        units = unit_rows(student, "student")
        labels = checked_labels(labels, len(units), self.name).to(units.device)
        labelled = has_label(labels)
        if not labelled.any():
            return units.sum() * 0.0
        labels = labels[labelled]
        relevant = labels[:, None] == labels[None, :]
        bins = Bins(self.bins, self.low, self.high)
        return square_ap_loss(similarities(units[labelled]), relevant, bins, self.include_self)
