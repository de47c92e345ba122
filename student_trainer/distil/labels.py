"""Who counts as relevant to whom: from the teacher's similarities alone (Sec. 3.3), or by class numbers.

In: the teacher's similarities in the joint set of B originals and their B mixtures. Out: a symmetric
boolean matrix, one row per query.
"""

import torch
from torch import Tensor

from student_trainer.errors import InvalidInput

UNLABELLED = -1
"""The class number of an image without a label."""


def class_numbers(labels: Tensor | None, images: int, objective: str) -> Tensor:
    """The labels that an objective of that name needs, long [``images``].

    Raises:
        InvalidInput: there are none, or they are of another shape or type.
    """
    if labels is None or labels.dtype != torch.long or labels.shape != (images,):
        found = "none" if labels is None else f"shape {list(labels.shape)} and type {labels.dtype}"
        raise InvalidInput(f"The objective {objective} needs labels, long [{images}], but got {found}.")
    return labels


def similarity_labels(similarity: Tensor, tau: float) -> Tensor:
    """P_q = {z : S_qz > tau}, as a boolean matrix of the shape of ``similarity`` (similarity labelling)."""
    return similarity > tau


def mixup_labels(labels: Tensor, partners: Tensor) -> Tensor:
    """Give each mixture the positives of its two parents, then make the matrix symmetric (mixup labelling).

    P_kr <- P_kr | P_k | P_r, where the sets on the right are the similarity labels, before any union.

    Args:
        labels: bool [2B, 2B]; similarity labels of the joint set, originals first.
        partners: long [B]; row B + k is the mixture of rows k and ``partners[k]``.

    Returns:
        bool [2B, 2B]; the block of originals is that of ``labels``, made symmetric.
    """
    originals, mixtures = labels[: len(partners)], labels[len(partners) :]
    joined = torch.cat([originals, mixtures | originals | originals[partners]])
    return joined | joined.T
