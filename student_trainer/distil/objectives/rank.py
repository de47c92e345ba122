"""Rank distillation: the student learns to rank a batch as the teacher does, with mixtures or without.

In: a batch's descriptors by student and teacher. Out: a scalar. It needs no labels, and of the teacher no
more than the descriptors that were bought.

Source: Laskar and Kannala, "Data-efficient Ranking Distillation for Image Retrieval" (2020): Algorithm 1,
and the "no-aug" rows of its tables.
"""

from dataclasses import dataclass, field
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from student_trainer.distil.average_precision import Bins, square_ap_loss
from student_trainer.distil.descriptors import similarities
from student_trainer.distil.labels import similarity_labels
from student_trainer.distil.objectives.base import bought
from student_trainer.distil.objectives.label_free import LabelFree, label_free
from student_trainer.distil.rank_loss import rank_distillation_loss
from student_trainer.distil.rank_loss.backends import pick_backend
from student_trainer.distil.rank_loss.problem import check_tau, unit_pair
from student_trainer.errors import InvalidInput


@dataclass
class RankMixup(LabelFree):
    """``rank-mixup``: Algorithm 1. Each call draws one lam ~ Beta(alpha, alpha), and partners per round.

    What is drawn depends on ``seed``, ``step`` and the size of the batch alone, so a training that
    continues at a step draws what it would have drawn. ``step`` counts the calls. A batch of one image has
    loss 0. The settings are those of ``rank_distillation_loss``.

    Raises:
        InvalidInput: a setting is out of its range, or a call lacks the teacher's descriptors.
    """

    rounds: int = 10
    alpha: float = 1.0
    tau: float = 0.75
    bins: int = 20
    low: float = -1.0
    high: float = 1.0
    label_mixed: bool = True
    include_self: bool = True
    grad_through_mixed: bool = False
    seed: int = 0
    backend: str = "auto"
    step: int = field(default=0, init=False)

    facts = label_free("rank-mixup")

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.rounds != int(self.rounds):
            raise InvalidInput(f"rounds = {self.rounds}: mix at least once, a whole number of times.")
        if not (isfinite(self.alpha) and self.alpha > 0):
            raise InvalidInput(f"alpha = {self.alpha}: Beta(alpha, alpha) needs a positive number.")
        if self.seed < 0 or self.seed != int(self.seed):
            raise InvalidInput(f"seed = {self.seed}: use a whole number from 0 up.")
        check_tau(self.tau)
        Bins(self.bins, self.low, self.high)
        pick_backend(self.backend)

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        partners, lam = self.draw(len(student))
        self.step += 1
        return rank_distillation_loss(
            student,
            bought(teacher, self.name),
            partners,
            lam,
            tau=self.tau,
            bins=self.bins,
            low=self.low,
            high=self.high,
            label_mixed=self.label_mixed,
            include_self=self.include_self,
            grad_through_mixed=self.grad_through_mixed,
            backend=self.backend,
        )

    def at_step(self, step: int) -> None:
        """Its draws are a function of (seed, step)."""
        self.step = step

    def draw(self, images: int) -> tuple[Tensor, float]:
        """Partners, long [rounds, ``images``], uniform over the batch, and lam: those of this ``step``."""
        random = np.random.default_rng([self.seed, self.step])
        lam = float(random.beta(self.alpha, self.alpha))
        return torch.from_numpy(random.integers(images, size=(self.rounds, images))), lam


@dataclass
class Rank(LabelFree):
    """``rank``: the same without mixing; the batch's own images are ranked against each other ("no-aug").

    Raises:
        InvalidInput: a setting is out of its range, or a call lacks the teacher's descriptors.
    """

    tau: float = 0.75
    bins: int = 20
    low: float = -1.0
    high: float = 1.0
    include_self: bool = True

    facts = label_free("rank")

    def __post_init__(self) -> None:
        check_tau(self.tau)
        Bins(self.bins, self.low, self.high)

    def __call__(self, student: Tensor, teacher: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """The loss of a batch, student [B, d] and teacher [B, D]; ``labels`` are not looked at."""
        student, teacher = unit_pair(student, bought(teacher, self.name))
        relevant = similarity_labels(similarities(teacher), self.tau)
        bins = Bins(self.bins, self.low, self.high)
        return square_ap_loss(similarities(student), relevant, bins, self.include_self)
