"""Average precision made differentiable by binning similarities (Sec. 3.4, Eqs. 3-7), in closed form.

In: similarities of queries to a list, and which of the list is relevant. Out: 1 - AP per query, and its
exact derivative in every similarity, as a small table per query.

Each similarity touches the two centres around it, so a row needs only, for each interval between
centres, how many similarities fall there and the sum of their distances to the interval's lower end.
The derivative is constant within an interval, for positives and negatives: the table. Nothing of size
queries x list x bins exists.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from student_trainer.distil.descriptors import without_diagonal
from student_trainer.errors import InvalidInput, TrainingFailed

TILE_ELEMENTS = 1 << 16
"""Similarities worked on at a time: so many that calls cost little, and so few that they stay in a cache."""

CODE_TYPE = torch.int16
"""Of codes that are kept for the backward pass."""
MOST_BINS = 10_000


@dataclass(frozen=True)
class Bins:
    """C centres from ``high`` down to ``low``, evenly spaced: c_b = high - (b - 1) Delta.

    A similarity's *depth* is its distance below ``high`` in units of Delta. Its *code* is 0 at or above
    ``high``; j for a depth in (j - 1, j], that is between centres j - 1 and j counted from 0; and C below
    ``low``. The codes of positives follow those of negatives, so there are 2 (C + 1).

    Raises:
        InvalidInput: fewer than 2 bins or more than 10,000, or an interval that is empty or not finite.
    """

    count: int = 20
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 2 <= self.count <= MOST_BINS or self.count != int(self.count):
            raise InvalidInput(f"bins = {self.count}: use a whole number from 2 (the ends) to {MOST_BINS:,}.")
        if not (isfinite(self.low) and isfinite(self.high) and self.low < self.high):
            raise InvalidInput(f"low = {self.low}, high = {self.high}: low must be below high, both finite.")

    @property
    def per_unit(self) -> float:
        """1 / Delta: centres per unit of similarity."""
        return (self.count - 1) / (self.high - self.low)

    @property
    def codes(self) -> int:
        """How many codes there are: negatives' and positives'."""
        return 2 * (self.count + 1)

    def tile_rows(self, columns: int) -> int:
        """Rows to work on at a time."""
        return max(1, TILE_ELEMENTS // max(1, columns))

    def encode(self, similarity: Tensor, relevant: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (int32) and weights (complex128) of a tile of similarities; ``relevant`` is boolean.

        A weight is 1 + i e with e = j - depth: one pass of additions then yields both the count and the
        sum of e, exactly even when the similarities are float32.
        """
        depth = torch.rsub(similarity, self.high * self.per_unit, alpha=self.per_unit)
        code = depth.ceil().clamp_(0, self.count)
        weights = torch.ones(similarity.shape, dtype=torch.complex128, device=similarity.device)
        torch.sub(code, depth, out=torch.view_as_real(weights)[..., 1])
        # Through int32: the conversions float -> int32 -> int64 are vectorised, float -> int64 is not.
        return code.int().add_(relevant.view(torch.uint8), alpha=self.count + 1), weights


def losses_and_slopes(sums: Tensor, bins: Bins) -> tuple[Tensor, Tensor]:
    """1 - AP of each row, and its derivative in a similarity of each code.

    With h+ and h the histograms of positives and of all (Eq. 3), R and C their cumulative sums,
    P = R / C (Eq. 4), h+ / N (Eq. 5) and q = h+ / C: a similarity between centres j and j + 1 that rises
    by ds moves ds / Delta from centre j + 1 to centre j, so of the cumulative sums only C_j grows, and
    for a positive R_j. Hence for a negative dAP/ds = -q_j P_j / (N Delta), and for a positive
    (P_j - P_{j+1} + q_j) / (N Delta) more. Beyond the end centres nothing moves.

    Args:
        sums: complex128 [rows, codes]; the weights of ``Bins.encode`` added up per row and code.

    Returns:
        float64 [rows] and float64 [rows, codes]; both 0 in rows without positives.
    """
    positives, total = _histograms(sums, bins)
    found, seen = positives.cumsum(1), total.cumsum(1)
    per_seen = torch.where(seen > 0, 1 / seen, 0.0)
    precision = found * per_seen
    wanted = positives.sum(1, keepdim=True)
    per_wanted = torch.where(wanted > 0, 1 / wanted, 0.0)
    losses = torch.where(wanted > 0, 1 - (precision * positives).sum(1, keepdim=True) * per_wanted, 0.0)

    diluted = positives * per_seen
    slopes = torch.zeros(len(sums), 2, bins.count + 1, dtype=torch.float64, device=sums.device)
    negatives_slope, positives_slope = slopes[:, 0, 1:-1], slopes[:, 1, 1:-1]
    scale = per_wanted * bins.per_unit
    torch.mul(diluted[:, :-1] * precision[:, :-1], scale, out=negatives_slope)
    gain = precision[:, :-1] - precision[:, 1:] + diluted[:, :-1]
    torch.sub(negatives_slope, gain * scale, out=positives_slope)
    return losses.squeeze(1), slopes.flatten(1)


def _histograms(sums: Tensor, bins: Bins) -> tuple[Tensor, Tensor]:
    """h+ and h [rows, C]: a similarity of code j gives e to centre j - 1 and 1 - e to centre j."""
    parts = sums.view(len(sums), 2, bins.count + 1)
    counts, upper = parts.real.contiguous(), parts.imag.contiguous()
    # The two end bins saturate, however far beyond them a similarity lies.
    upper[..., 0] = 0
    upper[..., -1] = counts[..., -1]
    both = (counts - upper)[..., :-1] + upper[..., 1:]
    return both[:, 1], both[:, 0] + both[:, 1]


def binned_ap_loss(  # noqa: PLR0917 (the public signature)
    similarity: Tensor,
    relevant: Tensor,
    bins: int = 20,
    low: float = -1.0,
    high: float = 1.0,
    reduction: Literal["mean", "none"] = "mean",
) -> Tensor:
    """1 - quantised AP of each row (Eqs. 3-6), averaged over the rows (Eq. 7).

    Args:
        similarity: floating [queries, list]; half precisions are widened to float32 first, and their
            gradient is rounded back.
        relevant: bool, or 0 and 1, of the same shape.
        bins: C, the number of centres on [``low``, ``high``]; a similarity beyond an end counts as at it.
        reduction: "none" returns the rows' losses.

    Returns:
        A scalar, or [queries]; differentiable once in ``similarity``. A row without positives has loss 0
        and gradient 0. At a centre itself the derivative is that of the interval above it.

    Raises:
        InvalidInput: shapes, marks or settings that do not fit.
        TrainingFailed: a similarity is NaN; names the first row.
    """
    grid = Bins(bins, low, high)
    if similarity.ndim != 2 or not similarity.is_floating_point() or not len(similarity):
        raise InvalidInput(
            "similarity must be a floating matrix [queries, list] with at least one query, "
            f"but has shape {list(similarity.shape)} and type {similarity.dtype}."
        )
    if relevant.shape != similarity.shape:
        raise InvalidInput(
            f"relevant has shape {list(relevant.shape)}, similarity {list(similarity.shape)}: "
            "they must agree, one mark for each similarity."
        )
    if relevant.dtype != torch.bool and not ((relevant == 0) | (relevant == 1)).all():
        raise InvalidInput(
            "relevant has marks other than 0 and 1. Say which marks mean relevant, for example: marks > 0."
        )
    if reduction not in ("mean", "none"):
        raise InvalidInput(f"reduction = {reduction!r}: choose mean or none.")
    if similarity.dtype not in (torch.float32, torch.float64):
        similarity = similarity.float()
    losses: Tensor = _BinnedAP.apply(similarity, relevant.bool(), grid)  # type: ignore[no-untyped-call]
    return losses.mean() if reduction == "mean" else losses


def square_ap_loss(similarity: Tensor, relevant: Tensor, bins: Bins, include_self: bool) -> Tensor:
    """The mean loss when every image of a batch queries the batch, with or without itself in the list.

    Args:
        similarity: [B, B]; differentiable.
        relevant: bool [B, B].
        include_self: whether the diagonal takes part.
    """
    if not include_self:
        similarity, relevant = without_diagonal(similarity), without_diagonal(relevant)
    return binned_ap_loss(similarity, relevant, bins.count, bins.low, bins.high)


class _BinnedAP(torch.autograd.Function):
    """Rows' losses; keeps one code per similarity and one table per row for the backward pass."""

    @staticmethod
    def forward(ctx: Any, similarity: Tensor, relevant: Tensor, bins: Bins) -> Tensor:
        rows, columns = similarity.shape
        codes = torch.empty(rows, columns, dtype=CODE_TYPE, device=similarity.device)
        sums = torch.zeros(rows, bins.codes, dtype=torch.complex128, device=similarity.device)
        for start in range(0, rows, bins.tile_rows(columns)):
            tile = slice(start, start + bins.tile_rows(columns))
            _refuse_nan(similarity[tile], start)
            codes[tile], weights = bins.encode(similarity[tile], relevant[tile])
            sums[tile].scatter_add_(1, codes[tile].long(), weights)
        losses, slopes = losses_and_slopes(sums, bins)
        ctx.save_for_backward(codes, slopes.to(similarity.dtype))
        ctx.tile_rows = bins.tile_rows(columns)
        return losses.to(similarity.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        codes, slopes = ctx.saved_tensors
        gradient = torch.empty(codes.shape, dtype=slopes.dtype, device=slopes.device)
        for start in range(0, len(codes), ctx.tile_rows):
            tile = slice(start, start + ctx.tile_rows)
            gradient[tile] = slopes[tile].mul(upstream[tile, None]).gather(1, codes[tile].long())
        return gradient, None, None


def _refuse_nan(similarity: Tensor, first_row: int) -> None:
    bad = similarity.isnan().any(1)
    if bad.any():
        row = first_row + int(bad.nonzero()[0, 0])
        raise TrainingFailed(f"similarity has a NaN in row {row} (counted from 0). Look at that descriptor.")
