"""Distances are exact where float32 products would not be, and have a gradient where a norm has none."""

import numpy as np
import pytest
import torch
from independent_forms import distances as one_by_one
from independent_forms import rows, slopes
from torch import Tensor

from student_trainer.distil.objectives.distances import distances, inverse_distances, squared_distances


def gradient_of_sum(descriptors: Tensor) -> Tensor:
    leaf = descriptors.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(distances(leaf).sum(), leaf)
    return gradient


@pytest.mark.parametrize("dim", [1, 3, 40])
def test_they_are_those_of_all_pairs(dim: int) -> None:
    descriptors = rows(6, dim)
    found = distances(torch.from_numpy(descriptors))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), one_by_one(descriptors), rtol=1e-7 if dim == 1 else 1e-12)


def test_their_gradient_is_that_of_all_pairs() -> None:
    descriptors = rows(5, 3)
    expected = slopes(lambda some, _: one_by_one(some).sum(), descriptors, descriptors)
    np.testing.assert_allclose(gradient_of_sum(torch.from_numpy(descriptors)).numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_copies_are_exactly_0_apart_and_pull_nowhere(dtype: torch.dtype) -> None:
    descriptors = torch.from_numpy(rows(40, 512)).to(dtype)
    descriptors /= descriptors.norm(dim=1, keepdim=True)
    descriptors[20:] = descriptors[:20]
    found = distances(descriptors)
    assert found.dtype == dtype
    assert (found.diagonal() == 0).all() and (found[:20, 20:].diagonal() == 0).all()
    gradient = gradient_of_sum(descriptors)
    assert gradient.isfinite().all()
    torch.testing.assert_close(gradient[:20], gradient[20:])


def test_all_copies_of_one_have_no_gradient() -> None:
    assert (gradient_of_sum(torch.full((4, 3), 0.3)) == 0).all()
    assert (gradient_of_sum(torch.zeros(4, 3)) == 0).all()


def test_a_small_distance_keeps_its_digits_in_float32() -> None:
    """A product in float32 would leave no digit of a distance of 1e-4 between unit descriptors."""
    descriptors = torch.from_numpy(rows(1, 512)).float()
    descriptors = (descriptors / descriptors.norm()).repeat(2, 1)
    descriptors[1, 7] += 1e-4
    truth = (descriptors[0].double() - descriptors[1].double()).norm().item()
    assert distances(descriptors)[0, 1].item() == pytest.approx(truth, rel=1e-5)


def test_inverse_distances_are_0_between_copies() -> None:
    products = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    found = inverse_distances(squared_distances(products.requires_grad_()))
    expected = torch.tensor([[0.0, 0.0, 0.5**0.5], [0.0, 0.0, 0.5**0.5], [0.5**0.5, 0.5**0.5, 0.0]])
    torch.testing.assert_close(found, expected.double(), rtol=0, atol=1e-7)
    (gradient,) = torch.autograd.grad(found.sum(), products)
    assert gradient.isfinite().all()
