"""What the compiled loops over rows are given: a rank distillation problem as arrays and plain numbers.

In: a problem, and its similarity matrices. Out: named tuples, which numba reads like Python does.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from student_trainer.distil.mixup import MixingMatrix
from student_trainer.distil.rank_loss.problem import RankProblem

_FLOAT32_DIGITS, _MOST_DIGITS, _INT64_DIGITS = 24, 52, 63


@dataclass(frozen=True)
class FixedPoint:
    """How a table counts similarities and adds up their e (``Bins.encode``) in one whole number per code.

    Such sums are exact, in whatever order and by whatever threads. The lower bits hold the sum of e in
    units of 2^-``digits``, the bits from ``shift`` on the count. e is a multiple of 2^-24 when the
    similarities are float32, so nothing is lost; of float64 it keeps 41 binary digits in a batch of 1,000.
    """

    digits: int
    shift: int

    @classmethod
    def of(cls, listed: int, dtype: torch.dtype) -> "FixedPoint":
        """For lists of ``listed`` similarities: both sums stay within their bits."""
        room = (listed + 1).bit_length()
        exact = _FLOAT32_DIGITS if dtype == torch.float32 else _MOST_DIGITS
        digits = min(exact, _INT64_DIGITS - 2 * room)
        return cls(digits, digits + room)


class Grid(NamedTuple):
    """Bins, threshold and options; the numbers are of the similarities' type."""

    per_unit: Any
    top: Any
    """``high`` in units of Delta."""
    last: Any
    zero: Any
    one: Any
    tau: Any
    scale: Any
    positive: Any
    """What relevance adds to a code; uint16, as codes are."""
    unit: int
    """One similarity, in the fixed point of the tables."""
    shift: int
    fixed: Any
    """An empty array of the type for e in fixed point."""
    label_mixed: bool
    include_self: bool

    @classmethod
    def of(cls, problem: RankProblem) -> "Grid":
        bins, dtype = problem.bins, problem.student.dtype
        fixed = FixedPoint.of(2 * len(problem.student), dtype)
        number = np.float32 if dtype == torch.float32 else np.float64
        return cls(
            per_unit=number(bins.per_unit),
            top=number(bins.high * bins.per_unit),
            last=number(bins.count),
            zero=number(0),
            one=number(1),
            tau=number(problem.tau),
            scale=number(2**fixed.digits),
            positive=np.uint16(bins.count + 1),
            unit=1 << fixed.shift,
            shift=fixed.shift,
            fixed=np.empty(0, np.int32 if dtype == torch.float32 else np.int64),
            label_mixed=problem.label_mixed,
            include_self=problem.include_self,
        )


class Batch(NamedTuple):
    """What the rounds share, what they add up to, and room to work on one of them."""

    similarity: Any
    """[B, B]; symmetric, with ones on the diagonal."""
    teacher_similarity: Any
    tables: Any
    """int64 [B, codes], in fixed point: originals in the lists of originals."""
    near: Any
    """bool [B, B]: whether the teacher finds original o and mixture k similar."""
    codes: Any
    """uint16 [B, B], of original o and mixture k."""
    square_codes: Any
    """The same of mixtures to mixtures, for gradient through mixtures; otherwise [0, 0]."""
    losses: Any
    mixed_losses: Any
    """[B]: of the lists of originals, and of mixtures."""
    slopes: Any
    mixed_slopes: Any
    """[B, codes], per Delta."""
    total_slopes: Any
    """``slopes``, summed over the rounds."""
    coefficients: Any
    """[B, B], to be multiplied with F; [0, 0] without a gradient."""

    @classmethod
    def of(
        cls, problem: RankProblem, similarity: Tensor, teacher_similarity: Tensor, with_gradient: bool
    ) -> "Batch":
        images, codes = len(similarity), problem.bins.codes
        number = similarity.numpy().dtype
        squares = images if with_gradient and problem.grad_through_mixed else 0
        return cls(
            similarity=similarity.numpy(),
            teacher_similarity=teacher_similarity.numpy(),
            tables=np.empty((images, codes), np.int64),
            near=np.empty((images, images), np.bool_),
            codes=np.empty((images, images), np.uint16),
            square_codes=np.empty((squares, squares), np.uint16),
            losses=np.empty(images),
            mixed_losses=np.empty(images),
            slopes=np.empty((images, codes), number),
            mixed_slopes=np.empty((images, codes), number),
            total_slopes=np.zeros((images, codes)),
            coefficients=np.zeros((images, images) if with_gradient else (0, 0), number),
        )


class Mixing(NamedTuple):
    """A round: mixture k is own[k] f_k + other[k] f_{partners[k]}, and so for the teacher."""

    partners: Any
    """uint32 [B]; unsigned, so that no index is tried for counting from the end."""
    own: Any
    other: Any
    teacher_own: Any
    teacher_other: Any

    @classmethod
    def of(cls, student: MixingMatrix, teacher: MixingMatrix) -> "Mixing":
        partners = student.pairs[:, 1].numpy().astype(np.uint32)
        weights = (half.contiguous().numpy() for m in (student, teacher) for half in m.weights.unbind(1))
        return cls(partners, *weights)
