"""Algorithm 1 and Eqs. 1-7 of the paper, dense and line by line: what faster backends must agree with.

In: a rank distillation problem. Out: its loss; gradients by autograd. It keeps several arrays of 2B x 2B x C
per round, so it is for tests and small batches.

Source: Laskar and Kannala, "Data-efficient Ranking Distillation for Image Retrieval" (2020).
"""

import torch
from torch import Tensor

from student_trainer.distil.average_precision import Bins
from student_trainer.distil.descriptors import similarities, without_diagonal
from student_trainer.distil.labels import mixup_labels, similarity_labels
from student_trainer.distil.mixup import mix
from student_trainer.distil.rank_loss.problem import RankProblem


def rank_loss(problem: RankProblem) -> Tensor:
    """The mean over the rounds (line 19)."""
    return torch.stack([_round_loss(problem, partners) for partners in problem.partners]).mean()


def _round_loss(problem: RankProblem, partners: Tensor) -> Tensor:
    mixed_teacher = mix(problem.teacher, partners, problem.lam, "teacher")  # line 8
    mixed_student = mix(problem.student, partners, problem.lam, "student")  # line 9
    if not problem.grad_through_mixed:
        mixed_student = mixed_student.detach()  # line 10
    teacher_similarity = similarities(torch.cat([problem.teacher, mixed_teacher]))  # line 13
    student_similarity = similarities(torch.cat([problem.student, mixed_student]))  # line 13

    labels = similarity_labels(teacher_similarity, problem.tau)  # line 14
    if not problem.include_self:
        labels.fill_diagonal_(False)
    if problem.label_mixed:
        labels = mixup_labels(labels, partners)  # lines 15, 16
    if not problem.include_self:
        student_similarity, labels = without_diagonal(student_similarity), without_diagonal(labels)
    return ap_losses(student_similarity, labels, problem.bins).mean()  # line 17, Eq. 7


def soft_assignment(similarity: Tensor, bins: Bins) -> Tensor:
    """Eq. 3 for every similarity and centre: [queries, list, C]. Beyond the end centres it saturates."""
    delta = (bins.high - bins.low) / (bins.count - 1)
    steps = torch.arange(bins.count, dtype=similarity.dtype, device=similarity.device)
    centres = bins.high - steps * delta
    saturated = similarity.clamp(bins.low, bins.high)
    return (1 - (saturated[:, :, None] - centres).abs() / delta).clamp(min=0)


def ap_losses(similarity: Tensor, relevant: Tensor, bins: Bins) -> Tensor:
    """Eqs. 4-6: 1 - AP of each row of [queries, list]; 0 for a row without positives."""
    assigned = soft_assignment(similarity, bins)
    positives = torch.einsum("qzb,qz->qb", assigned, relevant.to(similarity.dtype))
    everything = assigned.sum(dim=1)
    seen = everything.cumsum(dim=1)
    precision = positives.cumsum(dim=1) / seen.masked_fill(seen == 0, 1)  # Eq. 4
    wanted = relevant.sum(dim=1, keepdim=True)
    recall_step = positives / wanted.clamp(min=1)  # Eq. 5
    losses = 1 - (precision * recall_step).sum(dim=1)  # Eq. 6
    return torch.where(wanted.squeeze(1) > 0, losses, 0.0)
