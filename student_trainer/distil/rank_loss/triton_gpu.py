"""The rank distillation loss on NVIDIA GPUs: the fast form, with compiled kernels over tiles and rounds.

In: a rank distillation problem on a GPU. Out: its loss, with the gradient computed along the way.

Every similarity of a round follows from the two similarity matrices, which stay in the second-level cache;
kernels work them out where they are needed, once to fill the tables and once to look derivatives up. The
tables are sums of whole numbers, and all else has a fixed order: the same input gives the same bits.

As the processor's form multiplies coefficients with F once, this one multiplies the derivatives H with the
mixtures M, rounds stacked: more arithmetic, but none of it needs an order among floating additions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from student_trainer.distil.average_precision import losses_and_slopes
from student_trainer.distil.descriptors import similarities
from student_trainer.distil.mixup import mixture_lengths
from student_trainer.distil.rank_loss import triton_kernels as kernels
from student_trainer.distil.rank_loss.autograd import solved
from student_trainer.distil.rank_loss.problem import RankProblem
from student_trainer.distil.rank_loss.rows import FixedPoint

_ROUNDS_BYTES = 256 << 20
"""Rounds are worked on together as far as their tables and derivatives take no more than this."""
_BYTES_PER_CODE = 96
"""Of a table, of its sums in floating point, and of what ``losses_and_slopes`` makes of them."""


def rank_loss(problem: RankProblem) -> Tensor:
    """The loss; differentiable once in the student's unit descriptors."""
    return solved(problem, _solve)


def _solve(problem: RankProblem, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
    rounds = _Rounds(problem)
    gradient = torch.zeros_like(rounds.student) if with_gradient else None
    for partners in torch.split(problem.partners, rounds.at_a_time()):
        rounds.add(_Mixtures.of(problem, rounds, partners), gradient)
    if gradient is not None:
        rounds.close_batch(gradient)
    queries = 2 * rounds.images * len(problem.partners)
    loss = (rounds.total_loss / queries).to(rounds.student.dtype)
    return loss, None if gradient is None else gradient.div_(queries)


@dataclass(frozen=True)
class _Mixtures:
    """Some rounds' mixing."""

    partners: Tensor
    """int32 [rounds, B]."""
    weights: Tensor
    """[rounds, 4, B]: own and partner's share for the student, then for the teacher."""

    @classmethod
    def of(cls, problem: RankProblem, rounds: "_Rounds", partners: Tensor) -> "_Mixtures":
        lam = problem.lam
        both = (
            mixture_lengths(rounds.student, rounds.similarity, partners, lam, "student"),
            mixture_lengths(problem.teacher, rounds.teacher_similarity, partners, lam, "teacher"),
        )
        weights = [share / lengths for lengths in both for share in (lam, 1 - lam)]
        return cls(partners.int(), torch.stack(weights, dim=1))

    def of_round(self, turn: int, units: Tensor) -> Tensor:
        """M [B, d] of the student's unit rows."""
        own, other = self.weights[turn, :2, :, None].unbind()
        return own * units + units[self.partners[turn].long()] * other

    def to_parents(self, turn: int, slopes: Tensor) -> Tensor:
        """W^T ``slopes``, as a product: adding rows in place would leave their order to the device."""
        own, other = self.weights[turn, :2].unbind()
        matrix = torch.diag(own)
        matrix.scatter_add_(1, self.partners[turn].long()[:, None], other[:, None])
        return matrix.T @ slopes


class _Rounds:
    """What the rounds share, and what they add up to."""

    def __init__(self, problem: RankProblem) -> None:
        self.problem = problem
        self.student = problem.student.detach().contiguous()
        self.images, self.width = len(self.student), problem.bins.codes
        self.similarity = similarities(self.student)
        self.teacher_similarity = similarities(problem.teacher)
        self.fixed = FixedPoint.of(2 * self.images, self.student.dtype)
        self.settings = self._settings()
        self.total_loss = torch.zeros((), dtype=torch.float64, device=self.student.device)
        self.total_slopes = self._empty((self.images, self.width), torch.float64).zero_()
        self.tables = self._empty((self.images, self.width), torch.int64).zero_()
        kernels.count_originals[self._grid()](
            *self._pair(),
            self.tables,
            *self._sizes(),
            1 << self.fixed.shift,
            INCLUDE_SELF=problem.include_self,
            **kernels.LAUNCH,
        )

    def _settings(self) -> Tensor:
        """What kernels need of the bins; as a tensor, because numbers would be passed in float32."""
        bins, scale = self.problem.bins, 2.0**self.fixed.digits
        rounding = 0.0 if self.student.dtype == torch.float32 else 0.5
        numbers = [bins.per_unit, bins.high * bins.per_unit, bins.count, self.problem.tau, scale, rounding]
        return torch.tensor(numbers, dtype=self.student.dtype, device=self.student.device)

    def _empty(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        return self.student.new_empty(shape, dtype=dtype or self.student.dtype)

    def _grid(self, rounds: int = 1) -> tuple[int, int, int]:
        tiles = -(-self.images // kernels.LAUNCH["TILE"])
        return tiles, tiles, rounds

    def _pair(self, mixtures: _Mixtures | None = None) -> tuple[Tensor, ...]:
        between = (mixtures.partners, mixtures.weights) if mixtures else ()
        return (self.similarity, self.teacher_similarity, *between, self.settings)

    def _sizes(self) -> tuple[int, int, int]:
        return self.images, self.width, self.problem.bins.count + 1

    def at_a_time(self) -> int:
        """Rounds worked on together."""
        squares = 2 if self.problem.grad_through_mixed else 1
        derivatives = squares * self.images**2 * self.student.element_size()
        return max(1, _ROUNDS_BYTES // (derivatives + 2 * self.images * self.width * _BYTES_PER_CODE))

    def add(self, mixtures: _Mixtures, gradient: Tensor | None) -> None:
        """Lines 6 to 17 for some rounds; adds to ``gradient`` what comes through similarities of mixtures."""
        rounds = len(mixtures.partners)
        tables = self._empty((rounds, 2 * self.images, self.width), torch.int64).zero_()
        tables[:, : self.images] = self.tables
        options = {"LABEL_MIXED": self.problem.label_mixed, "INCLUDE_SELF": self.problem.include_self}
        kernels.count_mixtures[self._grid(rounds)](
            *self._pair(mixtures), tables, *self._sizes(), 1 << self.fixed.shift, **options, **kernels.LAUNCH
        )
        losses, slopes = losses_and_slopes(self._sums(tables.flatten(0, 1)), self.problem.bins)
        self.total_loss += losses.sum()
        if gradient is None:
            return
        slopes = slopes.view_as(tables)
        self.total_slopes += slopes[:, : self.images].sum(0)
        slopes = slopes.to(self.student.dtype)
        through = self.problem.grad_through_mixed
        result = self._empty((rounds, self.images, self.images))
        mixed_result = torch.empty_like(result) if through else result
        kernels.slopes_to_mixtures[self._grid(rounds)](
            *self._pair(mixtures),
            slopes,
            result,
            mixed_result,
            *self._sizes(),
            **options,
            THROUGH=through,
            **kernels.LAUNCH,
        )
        units = torch.stack([mixtures.of_round(turn, self.student) for turn in range(rounds)])
        gradient.addmm_(result.flatten(0, 1).T, units.flatten(0, 1))
        for turn in range(rounds) if through else ():
            at_mixtures = result[turn] @ self.student + mixed_result[turn] @ units[turn]
            at_mixtures -= (at_mixtures * units[turn]).sum(1, keepdim=True) * units[turn]
            gradient += mixtures.to_parents(turn, at_mixtures)

    def _sums(self, tables: Tensor) -> Tensor:
        """Counts and sums of e, as ``losses_and_slopes`` takes them."""
        counts = tables >> self.fixed.shift
        above = (tables & ((1 << self.fixed.shift) - 1)).double() / 2.0**self.fixed.digits
        return torch.complex(counts.double(), above)

    def close_batch(self, gradient: Tensor) -> None:
        """Add what comes through similarities of originals to originals, in all rounds at once."""
        result = torch.empty_like(self.similarity)
        slopes = self.total_slopes.to(self.student.dtype)
        kernels.slopes_to_originals[self._grid()](
            *self._pair(), slopes, result, *self._sizes(), **kernels.LAUNCH
        )
        gradient.addmm_(result, self.student)
