"""The rank distillation loss on processors: the fast form, with compiled loops over rows.

In: a rank distillation problem on the CPU. Out: its loss, with the gradient computed along the way.

The algebra is that of ``in_torch``, a row of similarities at a time: it is mixed, labelled, sorted
into bins and added up while it is in the nearest cache. A query's row needs no other query, so threads
share out rows, and the result is the same to the last bit on any number of them. Of a round, one code and
one label are kept for each similarity of originals to mixtures.
"""

import numpy as np
import torch
from torch import Tensor

from student_trainer.distil.mixup import MixingMatrix
from student_trainer.distil.rank_loss import cpu_kernels as kernels
from student_trainer.distil.rank_loss import cpu_kernels_through as through
from student_trainer.distil.rank_loss.autograd import solved
from student_trainer.distil.rank_loss.problem import RankProblem
from student_trainer.distil.rank_loss.row_threads import RowThreads
from student_trainer.distil.rank_loss.rows import Batch, Grid, Mixing

_PRODUCT_ROWS = 128
"""Rows of a matrix product done at a time: fixed, because its bits depend on it."""


def rank_loss(problem: RankProblem) -> Tensor:
    """The loss; differentiable once in the student's unit descriptors.

    The first call for a type of numbers compiles the loops, which takes some seconds; later processes find
    them on disk (``machine_code``).
    """
    return solved(problem, _solve)


def _solve(problem: RankProblem, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
    with RowThreads(len(problem.student)) as threads:
        rounds = _Rounds(problem, threads, with_gradient)
        rounds.run()
        return rounds.loss(), rounds.gradient() if with_gradient else None


class _Rounds:
    """Algorithm 1, on all threads."""

    def __init__(self, problem: RankProblem, threads: RowThreads, with_gradient: bool) -> None:
        self.problem, self.threads, self.with_gradient = problem, threads, with_gradient
        self.student = problem.student.detach().contiguous()
        self.similarity = gram(self.student, threads)
        self.teacher_similarity = gram(problem.teacher, threads)
        self.batch = Batch.of(problem, self.similarity, self.teacher_similarity, with_gradient)
        self.grid = Grid.of(problem)
        self.total_loss = 0.0

    def run(self) -> None:
        """All but the product with F that ends it."""
        self._each_row(kernels.count_originals, self.batch, self.grid)
        for partners in self.problem.partners:
            self._run_round(self._mixing(partners))
        if self.with_gradient:
            if self.problem.grad_through_mixed:
                self.batch.coefficients[:] += self.batch.coefficients.T.copy()
            self._each_row(kernels.close_batch, self.batch, self.grid)

    def _each_row(self, kernel: kernels.Kernel, *arguments: object) -> None:
        self.threads.run(lambda start, stop: kernel(start, stop, *arguments))

    def _mixing(self, partners: Tensor) -> Mixing:
        problem, lam = self.problem, self.problem.lam
        return Mixing.of(
            MixingMatrix.of(self.student, self.similarity, partners, lam, "student"),
            MixingMatrix.of(problem.teacher, self.teacher_similarity, partners, lam, "teacher"),
        )

    def _run_round(self, mixing: Mixing) -> None:
        """Lines 6 to 17."""
        batch = self.batch
        self._each_row(kernels.rank_originals, batch, mixing, self.grid)
        self._each_row(kernels.rank_mixtures, batch, mixing, self.grid)
        self.total_loss += float(batch.losses.sum() + batch.mixed_losses.sum())
        if self.with_gradient:
            self._each_row(kernels.follow_mixtures, batch, mixing)
            if self.problem.grad_through_mixed:
                between, radial = np.zeros_like(batch.coefficients), np.empty_like(batch.slopes[:, 0])
                self._each_row(through.between_mixtures, batch, mixing, between, radial)
                self._each_row(through.spread, mixing, between, radial, batch.coefficients)

    def loss(self) -> Tensor:
        """The mean over rounds and queries."""
        return torch.tensor(self.total_loss / self._queries(), dtype=self.student.dtype)

    def gradient(self) -> Tensor:
        """dL/dF [B, d], up to multiples of F's own rows."""
        gradient, coefficients = torch.empty_like(self.student), torch.from_numpy(self.batch.coefficients)

        def rows(start: int, stop: int) -> None:
            torch.mm(coefficients[start:stop], self.student, out=gradient[start:stop])

        self.threads.run(rows, _PRODUCT_ROWS)
        return gradient.mul_(self.problem.bins.per_unit / self._queries())

    def _queries(self) -> int:
        return 2 * len(self.student) * len(self.problem.partners)


def gram(units: Tensor, threads: RowThreads) -> Tensor:
    """``descriptors.similarities`` of unit rows [B, d] that are constants, the rows shared out."""
    result = units.new_empty(len(units), len(units))

    def rows(start: int, stop: int) -> None:
        torch.mm(units[start:stop], units[:stop].T, out=result[start:stop, :stop])
        result[:start, start:stop] = result[start:stop, :start].T

    threads.run(rows, _PRODUCT_ROWS)
    return result.fill_diagonal_(1.0)
