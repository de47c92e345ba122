"""Mixing descriptors: more things to rank against, for no further query (Sec. 3.2, Eq. 1).

In: unit descriptors of a batch, a partner for each, and the coefficient. Out: mixed unit descriptors, or the
matrix that mixes: with it, similarities to mixtures follow from similarities of originals.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from student_trainer.distil.descriptors import BadDescriptors

SHORTEST_MIXTURE = 1e-3
"""Below this length before normalisation, the direction of a mixture is mostly rounding error."""

_CANCELLING = 0.25
"""Below this length, the formula for it from the similarity loses more than a digit to cancellation."""


def mix(descriptors: Tensor, partners: Tensor, lam: float, whose: str = "given") -> Tensor:
    """lam f_k + (1 - lam) f_{r_k} (Eq. 1), scaled to length 1.

    Args:
        descriptors: [B, d] unit rows; of the teacher or of the student.
        partners: long [B]; r_k, the row that row k is mixed with (k itself is allowed).
        lam: the share of row k.
        whose: a name for the message of the error.

    Returns:
        [B, d] unit rows; differentiable in ``descriptors``.

    Raises:
        BadDescriptors: two nearly opposite descriptors cancel out.
    """
    mixed = lam * descriptors + (1 - lam) * descriptors[partners]
    lengths = torch.linalg.vector_norm(mixed, dim=1, keepdim=True)
    _check_lengths(lengths.detach().squeeze(1), partners, lam, whose)
    units: Tensor = mixed / lengths
    return units


@dataclass(frozen=True)
class MixingMatrix:
    """W [B, B] of M = W F, where n_k is the length of lam f_k + (1 - lam) f_{r_k}.

    Row k holds lam / n_k in column k and (1 - lam) / n_k in column r_k.
    """

    pairs: Tensor
    """long [B, 2]: k and r_k, the two columns of row k that are not zero."""
    weights: Tensor
    """[B, 2]: what stands there."""

    @classmethod
    def of(
        cls, units: Tensor, similarity: Tensor, partners: Tensor, lam: float, whose: str
    ) -> "MixingMatrix":
        """From unit rows [B, d] and their similarities [B, B]; raises ``BadDescriptors`` as ``mix`` does."""
        lengths = mixture_lengths(units, similarity, partners, lam, whose)
        own = torch.arange(len(partners), device=partners.device)
        return cls(torch.stack([own, partners], 1), torch.stack([lam / lengths, (1 - lam) / lengths], 1))

    def combine(self, matrix: Tensor, tile: slice) -> Tensor:
        """The rows ``tile`` of W ``matrix``: each is a sum of two rows."""
        return embedding_bag(self.pairs[tile], matrix, per_sample_weights=self.weights[tile], mode="sum")

    def combine_columns(self, rows: Tensor) -> Tensor:
        """``rows`` W^T: each column is a sum of two columns. With rows of W G it gives rows of W G W^T."""
        own, partners = self.weights.unbind(1)
        return rows.index_select(1, self.pairs[:, 1]).mul_(partners).addcmul_(rows, own)

    def spread(self, rows: Tensor, tile: slice, into: Tensor) -> None:
        """Add W^T X to ``into``, where X is ``rows`` in ``tile`` and zero elsewhere."""
        into[tile].addcmul_(rows, self.weights[tile, :1])
        into.index_add_(0, self.pairs[tile, 1], rows * self.weights[tile, 1:])


def mixture_lengths(units: Tensor, similarity: Tensor, partners: Tensor, lam: float, whose: str) -> Tensor:
    """n_k, before mixtures are scaled to length 1, for one round's ``partners`` [B] or several [R, B].

    n_k^2 = lam^2 + (1 - lam)^2 + 2 lam (1 - lam) f_k . f_{r_k}, unless that nearly cancels out: then the sum
    of the two rows is more exact.

    Raises:
        BadDescriptors: two nearly opposite descriptors cancel out.
    """
    own = torch.arange(len(units), device=partners.device).expand_as(partners)
    cosines = similarity[own, partners]
    lengths = (lam**2 + (1 - lam) ** 2 + 2 * lam * (1 - lam) * cosines).clamp(min=0).sqrt()
    short = lengths < _CANCELLING
    sums = lam * units[own[short]] + (1 - lam) * units[partners[short]]
    lengths[short] = torch.linalg.vector_norm(sums, dim=1)
    _check_lengths(lengths, partners, lam, whose)
    return lengths


def _check_lengths(lengths: Tensor, partners: Tensor, lam: float, whose: str) -> None:
    short = ~(lengths >= SHORTEST_MIXTURE)
    if short.any():
        first = tuple(short.nonzero()[0])
        raise BadDescriptors(
            f"Mixing row {int(first[-1])} of the {whose} descriptors with row {int(partners[first])} at "
            f"lam = {lam:g} leaves a vector of length {lengths[first].item():.1e}: the two point in opposite "
            "directions. Draw another partner or another lam.",
            rows=(int(first[-1]), int(partners[first])),
        )
