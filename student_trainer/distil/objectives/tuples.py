"""Losses of one tuple: an anchor, images that show the same as it does, and images that do not.

In: descriptors of a tuple. Out: a scalar. Who stands in a tuple is decided elsewhere
(:mod:`student_trainer.distil.tuples.mining`), and so is which network described whom: asymmetric learning
gives the student's anchor with the teacher's positives and negatives.

Sources. ``contrastive``: Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human
Annotation" (2018), Siamese learning; the sum over a tuple and EPSILON as the field's public code has them.
``triplet``: Wang et al., "Learning Fine-grained Image Similarity with Deep Ranking" (2014).
``multi_similarity``: Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric
Learning" (2019), without its mining of pairs. Default settings: Budnik and Avrithis, "Asymmetric metric
learning for knowledge transfer" (2020).
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


def triplet(anchor: Tensor, positives: Tensor, negatives: Tensor, margin: float = 0.1) -> Tensor:
    """Bring every positive nearer to the anchor than every negative, by the margin.

    sum_p sum_n max(0, ||a - p||^2 - ||a - n||^2 + margin). Without a positive or a negative it is 0.

    Args:
        anchor: [d]; or [T, d] for T tuples, whose losses are added.
        positives: [P, d] or [T, P, d].
        negatives: [N, d] or [T, N, d].
        margin: a squared distance.

    Returns:
        A scalar, differentiable in all three.

    Raises:
        InvalidInput: the shapes do not belong together.
    """
    _check_shapes(anchor, positives, negatives)
    near, far = _squared_distances(anchor, positives), _squared_distances(anchor, negatives)
    return (near.unsqueeze(-1) - far.unsqueeze(-2) + margin).clamp(min=0).sum()


def multi_similarity(  # noqa: PLR0917 - settings in the order of the formula
    anchor: Tensor,
    positives: Tensor,
    negatives: Tensor,
    alpha: float = 2.0,
    beta: float = 40.0,
    threshold: float = 0.5,
) -> Tensor:
    """Weigh every positive and every negative by its own similarity and by those of the others.

    log(1 + sum_p exp(-alpha (c_p - threshold))) / alpha + log(1 + sum_n exp(beta (c_n - threshold))) / beta
    with c the dot product with the anchor, which is the cosine for unit descriptors.

    Args:
        anchor: [d], a unit descriptor; or [T, d] for T tuples, whose losses are added.
        positives: [P, d] or [T, P, d], unit rows.
        negatives: [N, d] or [T, N, d], unit rows.
        alpha: how sharply positives that are less similar than the threshold count.
        beta: how sharply negatives that are more similar than it do.
        threshold: a cosine.

    Returns:
        A scalar, differentiable in all three.

    Raises:
        InvalidInput: the shapes do not belong together.
    """
    _check_shapes(anchor, positives, negatives)
    near, far = _products(anchor, positives), _products(anchor, negatives)
    attraction = _log_one_plus_sum_exp(-alpha * (near - threshold)).sum() / alpha
    repulsion = _log_one_plus_sum_exp(beta * (far - threshold)).sum() / beta
    return attraction + repulsion


def _distances(anchor: Tensor, others: Tensor) -> Tensor:
    """[..., d], [..., n, d] -> [..., n]."""
    distances: Tensor = torch.linalg.vector_norm(anchor.unsqueeze(-2) - others + EPSILON, dim=-1)
    return distances


def _squared_distances(anchor: Tensor, others: Tensor) -> Tensor:
    """[..., d], [..., n, d] -> [..., n]."""
    return (anchor.unsqueeze(-2) - others).square().sum(dim=-1)


def _products(anchor: Tensor, others: Tensor) -> Tensor:
    """[..., d], [..., n, d] -> [..., n]; no matrix product, whose precision others may have lowered."""
    return (anchor.unsqueeze(-2) * others).sum(dim=-1)


def _log_one_plus_sum_exp(values: Tensor) -> Tensor:
    """[..., n] -> [...]: log(1 + sum exp), which does not overflow; 0 where there is nothing to add."""
    one = values.new_zeros(*values.shape[:-1], 1)
    return torch.logsumexp(torch.cat([one, values], dim=-1), dim=-1)


def _check_shapes(anchor: Tensor, positives: Tensor, negatives: Tensor) -> None:
    tuples, dim = anchor.shape[:-1], anchor.shape[-1:]
    for others in (positives, negatives):
        fits = others.ndim == anchor.ndim + 1 and others.shape[:-2] == tuples and others.shape[-1:] == dim
        if not (1 <= anchor.ndim <= 2 and fits):
            raise InvalidInput(
                "A tuple is an anchor [d], positives [P, d] and negatives [N, d], or T of each; the shapes "
                f"are {list(anchor.shape)}, {list(positives.shape)} and {list(negatives.shape)}."
            )
