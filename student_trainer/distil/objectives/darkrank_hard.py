"""``darkrank-hard``: the teacher's order of a query's nearest images shall be likely to the student.

    L = mean_q -log P_S(the teacher's order)
    log P(order) = sum_i (score_i - log sum_{k >= i} exp(score_k)),    score = -alpha d^beta

In: descriptors by student and teacher. Out: a scalar. Settings: ``alpha=3.0, beta=3.0, list_length=4``.
Label-free; any two dimensions. ``plackett_luce.py`` says which images stand in a list.

Source: Chen, Wang and Zhang, "DarkRank: Accelerating Deep Metric Learning via Cross Sample Similarities
Transfer" (2018), hard transfer.
"""

from dataclasses import dataclass

from torch import Tensor

from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.label_free import label_free
from student_trainer.distil.objectives.plackett_luce import (
    DarkRank,
    list_scores,
    log_probabilities,
)


def darkrank_hard(
    student: Tensor, teacher: Tensor, alpha: float = 3.0, beta: float = 3.0, list_length: int = 4
) -> Tensor:
    """Minus the log-likelihood of the teacher's order, mean over queries.

    Args:
        student: [B, d]; need not be of length 1. The loss is differentiable in these.
        teacher: [B, D], any D; row i is of the same image.
        alpha: scale of the scores.
        beta: power of the distances in the scores.
        list_length: images in a query's list; B must be larger.

    Returns:
        A scalar above 0; log(list_length!) where the student finds all images equally near.

    Raises:
        InvalidInput: the batch has no such list, or the two are not of the same images.
        BadDescriptors: a row is zero or not finite.
    """
    by_student, _ = list_scores(student, teacher, alpha, beta, list_length)
    return -log_probabilities(by_student).mean()


@dataclass
class DarkRankHard(DarkRank):
    """:func:`darkrank_hard`.

    Raises:
        InvalidInput: a setting is out of its range, or a batch is smaller than a list and its query.
    """

    facts = label_free("darkrank-hard")

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        return darkrank_hard(student, bought(teacher, self.name), self.alpha, self.beta, self.list_length)
