"""Who counts as relevant to whom, from the teacher's similarities alone (Sec. 3.3).

In: the teacher's similarities in the joint set of B originals and their B mixtures. Out: a symmetric
boolean matrix, one row per query.
"""

import torch
from torch import Tensor


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
