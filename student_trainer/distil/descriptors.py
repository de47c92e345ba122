"""Checked unit descriptors and their similarity matrix, in full precision whatever the caller has set.

In: descriptors [B, d] of a batch. Out: unit rows, or the first bad row named; B x B similarities whose
diagonal is exactly 1.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from student_trainer.errors import InvalidInput, TrainingFailed

SMALLEST_NORM = 1e-12
"""A descriptor shorter than this has no direction that could be trusted."""


_GRAM_BLOCKS = 4


class BadDescriptors(TrainingFailed, ValueError):
    """A descriptor without a direction: zero, not finite, or a mixture of two opposite ones.

    ``rows`` are the positions in the batch that it was traced to.
    """

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


def unit_rows(descriptors: Tensor, whose: str) -> Tensor:
    """``descriptors`` [B, d] with every row scaled to length 1, in float32 or float64; differentiable.

    Raises:
        InvalidInput: not a floating matrix with at least one row and one column.
        BadDescriptors: a row is zero or not finite; names the first one.
    """
    if descriptors.ndim != 2 or not descriptors.is_floating_point() or 0 in descriptors.shape:
        raise InvalidInput(
            f"The {whose}'s descriptors must be a floating matrix [images, dimension] and not empty, "
            f"but have shape {list(descriptors.shape)} and type {descriptors.dtype}."
        )
    if descriptors.dtype not in (torch.float32, torch.float64):
        descriptors = descriptors.float()
    norms = torch.linalg.vector_norm(descriptors, dim=1, keepdim=True)
    bad = ~(norms.detach().isfinite() & (norms.detach() > SMALLEST_NORM)).squeeze(1)
    if bad.any():
        row = int(bad.nonzero()[0, 0])
        raise BadDescriptors(
            f"The {whose}'s descriptor in row {row} (counted from 0) of {len(bad)} has length "
            f"{norms[row].item():.3g}, so it has no direction; {int(bad.sum())} such rows in all. "
            "Look at that image, or at the network's activations and the learning rate.",
            rows=bad.nonzero().flatten().tolist(),
        )
    units: Tensor = descriptors / norms
    return units


def similarities(units: Tensor) -> Tensor:
    """Cosine similarities [B, B] of unit rows [B, d]; the diagonal is exactly 1 and carries no gradient."""
    result: Tensor = _Similarities.apply(units)  # type: ignore[no-untyped-call]
    return result


def without_diagonal(square: Tensor) -> Tensor:
    """The off-diagonal entries of [n, n], row by row: [n, n - 1]."""
    n = len(square)
    return square.flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Within it, matrix products are true float32: no autocast, no TF32, no bfloat16.

    A similarity rounded to 8 bits crosses the threshold and bin centres, so labels and gradients flip.
    """
    with ExitStack() as restore:
        restore.enter_context(torch.autocast(device.type, enabled=False))
        for backend in (torch.backends.cuda, torch.backends.mkldnn):
            _make_exact(restore, backend)
        yield


def _make_exact(restore: ExitStack, backend: Any) -> None:
    before = backend.matmul.fp32_precision
    if before != "ieee":
        backend.matmul.fp32_precision = "ieee"
        restore.callback(setattr, backend.matmul, "fp32_precision", before)


def _gram(units: Tensor) -> Tensor:
    """F F^T by blocks of rows, each up to the diagonal, then mirrored: 5/8 of the work of the product."""
    size = len(units)
    gram = units.new_empty(size, size)
    step = max(1, -(-size // _GRAM_BLOCKS))
    for start in range(0, size, step):
        stop = min(start + step, size)
        torch.mm(units[start:stop], units[:stop].T, out=gram[start:stop, :stop])
        gram[:start, start:stop] = gram[start:stop, :start].T
    return gram


class _Similarities(torch.autograd.Function):
    """F F^T, whose backward product is in full precision too."""

    @staticmethod
    def forward(ctx: Any, units: Tensor) -> Tensor:
        ctx.save_for_backward(units)
        with full_precision(units.device):
            return _gram(units).fill_diagonal_(1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> Tensor:
        (units,) = ctx.saved_tensors
        with full_precision(units.device):
            gradient: Tensor = (slopes + slopes.T).fill_diagonal_(0.0) @ units
        return gradient
