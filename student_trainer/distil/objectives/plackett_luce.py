"""Lists of a query's nearest images, and how likely an order of them is (Plackett and Luce).

In: descriptors by student and teacher. Out: for each query the scores of its list by either of them; of an
order its log-probability. The two ``darkrank`` losses are made of these.

A list is the ``list_length`` images of the batch that the teacher finds nearest to the query, the query
itself left out; of images that are equally near, the first in the batch comes first. A score is -alpha
d^beta, so a nearer image has a higher one.

Source: Chen, Wang and Zhang, "DarkRank: Accelerating Deep Metric Learning via Cross Sample Similarities
Transfer" (2018), scores and permutation probabilities.
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor

from student_trainer.distil.descriptors import without_diagonal
from student_trainer.distil.objectives.distances import distances
from student_trainer.distil.objectives.label_free import LabelFree
from student_trainer.distil.rank_loss.problem import unit_pair
from student_trainer.errors import InvalidInput


@dataclass
class DarkRank(LabelFree):
    """The settings of both losses.

    Raises:
        InvalidInput: a setting is out of its range.
    """

    alpha: float = 3.0
    beta: float = 3.0
    list_length: int = 4

    longest: ClassVar[int | None] = None
    """Images in a list, at most."""

    def __post_init__(self) -> None:
        check_scores(self.alpha, self.beta)
        check_list_length(self.list_length, self.longest)

    def check_batch(self, images: int) -> None:
        """Refuse a batch that is smaller than a list and its query."""
        check_list_fits(self.list_length, images)


def check_scores(alpha: float, beta: float) -> None:
    """Raise ``InvalidInput`` unless alpha > 0 and beta >= 1; below that, equal images have no derivative."""
    if not (isfinite(alpha) and alpha > 0):
        raise InvalidInput(f"alpha = {alpha}: the scale of the scores -alpha d^beta is a number above 0.")
    if not (isfinite(beta) and beta >= 1):
        raise InvalidInput(
            f"beta = {beta}: the power in the scores -alpha d^beta is a number from 1 up; below 1 it has no "
            "derivative where two descriptors are the same."
        )


def check_list_length(list_length: int, longest: int | None = None) -> None:
    """Raise ``InvalidInput`` unless it is whole, at least 2, and at most ``longest``."""
    if list_length != int(list_length) or list_length < 2:
        raise InvalidInput(
            f"list_length = {list_length}: an order needs a whole number of images, 2 or more."
        )
    if longest is not None and list_length > longest:
        raise InvalidInput(
            f"list_length = {list_length}: all orders of a list are compared, and more than {longest} images "
            "have too many. Take a shorter list, or the objective darkrank-hard."
        )


def check_list_fits(list_length: int, images: int) -> None:
    """Raise ``InvalidInput`` unless a batch of so many images holds a query and such a list."""
    if images <= list_length:
        raise InvalidInput(
            f"A list of {list_length} images beside the query needs a batch of {list_length + 1} or more, "
            f"but this one has {images}. Make the batches larger, or the lists shorter (list_length)."
        )


def list_scores(
    student: Tensor, teacher: Tensor, alpha: float, beta: float, list_length: int
) -> tuple[Tensor, Tensor]:
    """Scores of each query's list, in the teacher's order, by student and teacher: [B, list_length] each.

    Args:
        student: [B, d]; taken at length 1. The first result is differentiable in these.
        teacher: [B, D], any D; row i is of the same image; taken at length 1.
        alpha: of the scores.
        beta: of the scores.
        list_length: images in a list.

    Raises:
        InvalidInput: the batch has no such list, or the two are not of the same images.
        BadDescriptors: a row is zero or not finite.
    """
    student, teacher = unit_pair(student, teacher)
    check_list_fits(list_length, len(student))
    to_teacher = without_diagonal(distances(teacher))
    order = to_teacher.sort(dim=1, stable=True).indices[:, :list_length]
    lists = (without_diagonal(distances(student)).gather(1, order), to_teacher.gather(1, order))
    by_student, by_teacher = (-alpha * lengths.pow(beta) for lengths in lists)
    return by_student, by_teacher


def log_probabilities(scores: Tensor) -> Tensor:
    """Log-probability of the order in which scores [..., L] stand, [...]: the first is drawn first.

    Each image is drawn from those that are left with a probability in proportion to exp(score).
    """
    left = torch.stack([scores[..., place:].logsumexp(dim=-1) for place in range(scores.shape[-1])], dim=-1)
    return (scores - left).sum(dim=-1)
