"""Mixing with labels and draws that the method does not have, to see which part of it does harm.

In: a batch's descriptors by student and teacher. Out: a scalar. ``MixedLabels()`` with its defaults is the
loss of ``rank-mixup``, written down a second time and without its shortcuts.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from student_trainer.distil.average_precision import binned_ap_loss


@dataclass
class MixedLabels:
    """The loss of Algorithm 1 with one thing changed."""

    alpha: float = 1.0
    rounds: int = 5
    tau: float = 0.75
    inherit: Literal["both", "dominant", "none"] = "both"
    """Whose positives a mixture takes: its parents' (mixup labels), the larger parent's, or only its own."""
    drawn: Literal["batch", "round", "pair"] = "batch"
    """How often lambda is drawn."""
    lam: float | None = None
    """Fixed instead of drawn."""
    through: bool = False
    """Gradient through the mixtures."""
    queries: Literal["all", "originals"] = "all"
    """Which of the 2B ask; the list is all 2B in any case."""
    seed: int = 0
    step: int = field(default=0, init=False)

    def __call__(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """student [B, d], teacher [B, D] unit rows -> the mean over rounds and queries of 1 - AP."""
        random = np.random.default_rng([self.seed, self.step])
        student = normalize(student, dim=1)
        of_batch = random.beta(self.alpha, self.alpha) if self.lam is None else self.lam
        losses = []
        for _ in range(self.rounds):
            partners = torch.from_numpy(random.integers(len(student), size=len(student)))
            lam = self._lambda(random, of_batch, len(student))
            losses.append(self._round(student, teacher, partners, lam))
        return torch.stack(losses).mean()

    def _lambda(self, random: np.random.Generator, of_batch: float, images: int) -> Tensor:
        """[B, 1]."""
        if self.drawn == "batch":
            return torch.full((images, 1), float(of_batch))
        size = (images, 1) if self.drawn == "pair" else (1, 1)
        drawn = random.beta(self.alpha, self.alpha, size=size)
        return torch.from_numpy(drawn).float().expand(images, 1)

    def _round(self, student: Tensor, teacher: Tensor, partners: Tensor, lam: Tensor) -> Tensor:
        mixed_teacher, mixed = (
            normalize(lam * rows + (1 - lam) * rows[partners], dim=1) for rows in (teacher, student)
        )
        joint = torch.cat([student, mixed if self.through else mixed.detach()])
        relevant = self._labels(torch.cat([teacher, mixed_teacher]), partners, lam)
        similarity = joint @ joint.T
        similarity = similarity - torch.diag(torch.diag(similarity)) + torch.eye(len(joint))
        asked = slice(None, len(student) if self.queries == "originals" else None)
        return binned_ap_loss(similarity[asked], relevant[asked])

    def _labels(self, teacher: Tensor, partners: Tensor, lam: Tensor) -> Tensor:
        """bool [2B, 2B]."""
        images = len(partners)
        similar = teacher @ teacher.T > self.tau
        similar.fill_diagonal_(True)
        if self.inherit == "none":
            return similar
        own, partner = similar[:images], similar[partners]
        parents = own | partner if self.inherit == "both" else torch.where(lam >= 0.5, own, partner)
        joined = torch.cat([similar[:images], similar[images:] | parents])
        return joined | joined.T
