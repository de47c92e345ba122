"""``regression`` is half the mean squared distance of an image's two unit descriptors."""

import numpy as np
import pytest
import torch
from independent_forms import Rows, assert_same, rows, unit

from student_trainer.distil.objectives import get
from student_trainer.distil.objectives.regression import regression


def from_the_definition(student: Rows, teacher: Rows) -> float:
    return float(
        np.mean([0.5 * np.sum((s - t) ** 2) for s, t in zip(unit(student), unit(teacher), strict=True)])
    )


@pytest.mark.parametrize("images", [1, 2, 7])
def test_it_has_the_value_and_gradient_of_its_definition(images: int) -> None:
    assert_same(get("regression")(), from_the_definition, rows(images, 5), rows(images, 5, seed=1))


def test_it_is_one_minus_the_mean_cosine() -> None:
    student, teacher = torch.from_numpy(rows(6, 4)), torch.from_numpy(rows(6, 4, seed=1))
    cosines = torch.cosine_similarity(student, teacher)
    torch.testing.assert_close(regression(student, teacher), 1 - cosines.mean())


def test_it_is_0_with_gradient_0_where_the_two_agree() -> None:
    teacher = torch.from_numpy(rows(4, 3))
    student = (2 * teacher).requires_grad_()
    loss = regression(student, teacher)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() < 1e-15 and gradient.abs().max() < 1e-15
