"""Holds a loss to an independent form of it: its value, and its gradient by finite differences of that form.

A form is written in the tests with numpy in float64, straight from the definition and without a thought for
speed.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows: TypeAlias = NDArray[np.float64]
Form: TypeAlias = Callable[[Rows, Rows], float]
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

STEP = 1e-6


def rows(images: int, dim: int, seed: int = 0) -> Rows:
    """Random descriptors [images, dim] of lengths around 1 to 3, none of them 1."""
    return np.random.default_rng([seed, images, dim]).standard_normal((images, dim))


def unit(descriptors: Rows) -> Rows:
    """Each row at length 1."""
    return np.stack([row / np.sqrt(np.sum(row * row)) for row in descriptors])


def distance(a: Rows, b: Rows) -> float:
    """Euclidean."""
    return float(np.sqrt(np.sum((a - b) ** 2)))


def distances(descriptors: Rows) -> Rows:
    """Of all rows to each other, one by one."""
    return np.array([[distance(a, b) for b in descriptors] for a in descriptors])


def huber(gap: float) -> float:
    """Smooth L1 with delta 1."""
    return 0.5 * gap**2 if abs(gap) < 1 else abs(gap) - 0.5


def slopes(form: Form, student: Rows, teacher: Rows) -> Rows:
    """Gradient in ``student`` by central differences."""
    found = np.zeros_like(student)
    for place in np.ndindex(*student.shape):
        nudge = np.zeros_like(student)
        nudge[place] = STEP
        found[place] = (form(student + nudge, teacher) - form(student - nudge, teacher)) / (2 * STEP)
    return found


def value_and_gradient(loss: Loss, student: Rows, teacher: Rows) -> tuple[float, Rows]:
    """Of the loss itself, in float64."""
    leaf = torch.from_numpy(student).clone().requires_grad_()
    value = loss(leaf, torch.from_numpy(teacher))
    assert value.shape == () and value.dtype == torch.float64
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.item(), gradient.numpy()


def assert_same(loss: Loss, form: Form, student: Rows, teacher: Rows) -> None:
    """The loss has the form's value and slopes, and the gradient of its own value."""
    value, gradient = value_and_gradient(loss, student, teacher)
    np.testing.assert_allclose(value, form(student, teacher), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(gradient, slopes(form, student, teacher), rtol=1e-6, atol=2e-8)
    leaf = torch.from_numpy(student).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda found: loss(found, torch.from_numpy(teacher)), leaf)
