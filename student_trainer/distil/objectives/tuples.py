"""Losses of one tuple: an anchor, images that show the same as it does, and images that do not.

In: descriptors of a tuple. Out: a scalar. Who stands in a tuple is decided elsewhere
(:mod:`student_trainer.distil.tuples.mining`), and so is which network described whom: asymmetric learning
gives the student's anchor with the teacher's positives and negatives.

Source of ``contrastive``: Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human
Annotation" (2018), Siamese learning; the sum over a tuple and EPSILON as the field's public code has them.
"""

import torch
from torch import Tensor

from student_trainer.errors import InvalidInput

EPSILON = 1e-6
"""Added to every difference, so that two equal descriptors have a distance that can be derived."""


def contrastive(anchor: Tensor, positives: Tensor, negatives: Tensor, margin: float = 0.7) -> Tensor:
    """Pull positives to the anchor, and push negatives away up to the margin.

    sum_p 1/2 d(a, p)^2 + sum_n 1/2 max(0, margin - d(a, n))^2 with d(a, b) = ||a - b + EPSILON||.

    Args:
        anchor: [d]; or [T, d] for T tuples, whose losses are added.
        positives: [P, d] or [T, P, d].
        negatives: [N, d] or [T, N, d].
        margin: a distance; a negative beyond it costs nothing.

    Returns:
        A scalar, differentiable in all three.

    Raises:
        InvalidInput: the shapes do not belong together.
    """
    _check_shapes(anchor, positives, negatives)
    attraction = _distances(anchor, positives).square().sum()
    repulsion = (margin - _distances(anchor, negatives)).clamp(min=0).square().sum()
    return 0.5 * (attraction + repulsion)


def _distances(anchor: Tensor, others: Tensor) -> Tensor:
    """[..., d], [..., n, d] -> [..., n]."""
    distances: Tensor = torch.linalg.vector_norm(anchor.unsqueeze(-2) - others + EPSILON, dim=-1)
    return distances


def _check_shapes(anchor: Tensor, positives: Tensor, negatives: Tensor) -> None:
    tuples, dim = anchor.shape[:-1], anchor.shape[-1:]
    for others in (positives, negatives):
        fits = others.ndim == anchor.ndim + 1 and others.shape[:-2] == tuples and others.shape[-1:] == dim
        if not (1 <= anchor.ndim <= 2 and fits):
            raise InvalidInput(
                "A tuple is an anchor [d], positives [P, d] and negatives [N, d], or T of each; the shapes "
                f"are {list(anchor.shape)}, {list(positives.shape)} and {list(negatives.shape)}."
            )
