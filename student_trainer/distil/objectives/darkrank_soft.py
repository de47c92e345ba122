"""``darkrank-soft``: student and teacher shall find each order of a query's nearest images equally likely.

    L = mean_q sum_pi P_T(pi) (log P_T(pi) - log P_S(pi))
    log P(pi) = sum_i (score_pi(i) - log sum_{k >= i} exp(score_pi(k))),    score = -alpha d^beta

In: descriptors by student and teacher. Out: a scalar. Settings: ``alpha=3.0, beta=3.0, list_length=4``.
Label-free; any two dimensions.

One list for each query: its ``list_length`` nearest by the teacher, as the authors' public code has it (their
paper leaves the choice open); pi runs over all its list_length! orders. The memory is that of B list_length!
list_length numbers, a few times: 24 orders at the default, and at most the 720 of 6 images.

Source: Chen, Wang and Zhang, "DarkRank: Accelerating Deep Metric Learning via Cross Sample Similarities
Transfer" (2018), soft transfer.
"""

from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.label_free import label_free
from student_trainer.distil.objectives.plackett_luce import (
    DarkRank,
    check_list_length,
    list_scores,
    log_probabilities,
)

LONGEST_LIST = 6


def darkrank_soft(
    student: Tensor, teacher: Tensor, alpha: float = 3.0, beta: float = 3.0, list_length: int = 4
) -> Tensor:
    """KL divergence of the student's permutation probabilities from the teacher's, mean over queries.

    Args:
        student: [B, d]; need not be of length 1. The loss is differentiable in these.
        teacher: [B, D], any D; row i is of the same image.
        alpha: scale of the scores.
        beta: power of the distances in the scores.
        list_length: images in a query's list, 2 to 6; B must be larger.

    Returns:
        A scalar; 0 where the two agree.

    Raises:
        InvalidInput: the batch has no such list, or the two are not of the same images.
        BadDescriptors: a row is zero or not finite.
    """
    check_list_length(list_length, LONGEST_LIST)
    by_student, by_teacher = list_scores(student, teacher, alpha, beta, list_length)
    orders = torch.tensor(list(permutations(range(list_length))), device=by_student.device)
    student_log, teacher_log = (log_probabilities(scores[:, orders]) for scores in (by_student, by_teacher))
    return (teacher_log.exp() * (teacher_log - student_log)).sum(dim=1).mean()


@dataclass
class DarkRankSoft(DarkRank):
    """:func:`darkrank_soft`.

    Raises:
        InvalidInput: a setting is out of its range, or a batch is smaller than a list and its query.
    """

    facts = label_free("darkrank-soft")
    longest = LONGEST_LIST

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        return darkrank_soft(student, bought(teacher, self.name), self.alpha, self.beta, self.list_length)
