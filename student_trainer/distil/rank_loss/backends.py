"""Who computes the rank distillation loss: the same function in several forms, and the choice among them.

In: a name. Out: a function of a rank distillation problem. Compilers are imported when first needed.
"""

import os
from collections.abc import Callable
from functools import cache
from importlib import import_module

import torch
from torch import Tensor

from student_trainer.distil.rank_loss import in_torch, reference
from student_trainer.distil.rank_loss.problem import RankProblem
from student_trainer.errors import InvalidInput

Backend = Callable[[RankProblem], Tensor]

OLDEST_GPU = (7, 0)
"""The compute capability that Triton asks for."""


def _cpu(problem: RankProblem) -> Tensor:
    try:
        from student_trainer.distil.rank_loss import cpu
    except ImportError as missing:
        raise InvalidInput(
            f"The backend 'cpu' needs numba: {missing}. Install it, or choose torch."
        ) from missing
    if problem.student.device.type != "cpu":
        raise InvalidInput(
            f"The backend 'cpu' got descriptors on {problem.student.device}. Choose auto, triton or torch."
        )
    return cpu.rank_loss(problem)


def _triton(problem: RankProblem) -> Tensor:
    if problem.student.device.type != "cuda" and not triton_is_interpreted():
        raise InvalidInput(
            f"The backend 'triton' needs a GPU, but the descriptors are on {problem.student.device}. "
            "Choose auto, cpu or torch."
        )
    try:
        from student_trainer.distil.rank_loss import triton_gpu
    except ImportError as missing:
        raise InvalidInput(
            f"The backend 'triton' needs Triton: {missing}. Choose auto or torch."
        ) from missing
    return triton_gpu.rank_loss(problem)


def _auto(problem: RankProblem) -> Tensor:
    device = problem.student.device
    if device.type == "cpu" and _loads("cpu"):
        return _cpu(problem)
    if (
        device.type == "cuda"
        and torch.cuda.get_device_capability(device) >= OLDEST_GPU
        and _loads("triton_gpu")
    ):
        return _triton(problem)
    return in_torch.rank_loss(problem)


@cache  # an import that fails is tried anew each time, and a training asks at every step
def _loads(form: str) -> bool:
    """Whether this module can be imported: its compiler is there, and does not refuse the numpy beside it."""
    try:
        import_module(f"{__package__}.{form}")
    except ImportError:
        return False
    return True


BACKENDS: dict[str, Backend] = {
    "reference": reference.rank_loss,
    "torch": in_torch.rank_loss,
    "cpu": _cpu,
    "triton": _triton,
}


def pick_backend(name: str) -> Backend:
    """The backend of that name; "auto" chooses when it sees the descriptors.

    Raises:
        InvalidInput: there is none of that name.
    """
    if name == "auto":
        return _auto
    if name not in BACKENDS:
        raise InvalidInput(f"There is no backend {name!r}. Choose one of: auto, {', '.join(BACKENDS)}.")
    return BACKENDS[name]


def triton_is_interpreted() -> bool:
    """Whether Triton's kernels are run by Python, slowly and on any device: for tests without a GPU."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on", "y")
