"""A rank distillation loss whose gradient is found along the way, as one step of autograd.

In: a problem, and a function that solves it. Out: a scalar, differentiable once in the student's rows.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from student_trainer.distil.rank_loss.problem import RankProblem

Solver = Callable[[RankProblem, bool], tuple[Tensor, Tensor | None]]
"""The loss as a scalar of the student's type, and dL/dF [B, d] if that is wanted.

dL/dF may be off by multiples of F's own rows, which the normalisation of descriptors removes.
"""


def solved(problem: RankProblem, solver: Solver) -> Tensor:
    """The loss that ``solver`` finds. It is asked for the gradient only if somebody will want it."""
    loss: Tensor = _Solved.apply(problem.student, problem, solver)  # type: ignore[no-untyped-call]
    return loss


class _Solved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, problem: RankProblem, solver: Solver) -> Tensor:
        loss, gradient = solver(problem, ctx.needs_input_grad[0])
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None, None
