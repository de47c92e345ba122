"""One call of the rank distillation loss, checked: what every backend is given.

In: the arguments of ``rank_distillation_loss``. Out: unit descriptors, partners and settings that fit
together, or an error that names what does not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from student_trainer.distil.average_precision import Bins
from student_trainer.distil.descriptors import unit_rows
from student_trainer.errors import InvalidInput


@dataclass(frozen=True)
class RankProblem:
    """The inputs of Algorithm 1. Symbols: B images, R rounds, d and D the two dimensions."""

    student: Tensor
    """[B, d] unit rows; carries the gradient."""
    teacher: Tensor
    """[B, D] unit rows of the same type."""
    partners: Tensor
    """long [R, B]; r_k of each round."""
    lam: float
    tau: float
    bins: Bins
    label_mixed: bool
    """Whether mixtures inherit their parents' positives (mixup labelling)."""
    include_self: bool
    """Whether a query stands in its own list and positive set."""
    grad_through_mixed: bool
    """Whether gradient flows into the parents of a mixture (Table 6; worse)."""


def check_lam(lam: float) -> None:
    """Raise ``InvalidInput`` unless 0 <= ``lam`` <= 1."""
    if not 0 <= lam <= 1:
        raise InvalidInput(f"lam = {lam}: the share of the first descriptor must be between 0 and 1.")


def check_tau(tau: float) -> None:
    """Raise ``InvalidInput`` unless -1 <= ``tau`` < 1; at 1 not even an image itself would be similar."""
    if not -1 <= tau < 1:
        raise InvalidInput(f"tau = {tau}: the similarity threshold must be at least -1 and below 1.")


def check_partners(partners: Tensor, images: int) -> None:
    """Raise ``InvalidInput`` unless ``partners`` is long [R, ``images``], R >= 1, of rows in the batch."""
    if partners.dtype != torch.long or partners.ndim != 2 or partners.shape[1] != images or not len(partners):
        raise InvalidInput(
            f"partners must be long [rounds, {images}] with at least one round, "
            f"but have shape {list(partners.shape)} and type {partners.dtype}."
        )
    low, high = int(partners.min()), int(partners.max())
    if low < 0 or high >= images:
        raise InvalidInput(
            f"partners go from {low} to {high}; a batch of {images} has rows 0 to {images - 1}."
        )


def unit_pair(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both as unit rows of the student's type, on its device; no gradient flows into the teacher.

    Raises:
        InvalidInput: they are not of the same images.
        BadDescriptors: a row has no direction.
    """
    student = unit_rows(student, "student")
    teacher = unit_rows(teacher.detach().to(device=student.device, dtype=student.dtype), "teacher")
    if len(student) != len(teacher):
        raise InvalidInput(
            f"{len(student)} descriptors of the student, {len(teacher)} of the teacher: "
            "row i of both must be of the same image."
        )
    return student, teacher
