"""Reproducible arithmetic for the length of a training, without leaving traces in the caller's process.

In: a device. Out: a context in which PyTorch chooses deterministic algorithms on a CPU, where they cost
nothing measurable. On a graphics card they would cost much, so two trainings there agree to rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Deterministic algorithms on a CPU; full float32 products everywhere, because labels hang on them."""
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_float32_matmul_precision(),
    )
    torch.use_deterministic_algorithms(device.type == "cpu", warn_only=True)
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        enabled, warn_only, precision = before
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.set_float32_matmul_precision(precision)
