"""``absolute`` is the mean distance of an image's two unit descriptors."""

import numpy as np
import pytest
import torch
from independent_forms import Rows, assert_same, rows, unit

from student_trainer.distil.objectives import get
from student_trainer.distil.objectives.absolute import absolute


def from_the_definition(student: Rows, teacher: Rows) -> float:
    gaps = unit(student) - unit(teacher) + 1e-6
    return float(np.mean([np.sqrt(np.sum(gap * gap)) for gap in gaps]))


@pytest.mark.parametrize("images", [1, 2, 7])
def test_it_has_the_value_and_gradient_of_its_definition(images: int) -> None:
    assert_same(get("absolute")(), from_the_definition, rows(images, 5), rows(images, 5, seed=1))


def test_it_is_the_fields_pairwise_distance() -> None:
    student, teacher = torch.from_numpy(unit(rows(6, 4))), torch.from_numpy(unit(rows(6, 4, seed=1)))
    expected = torch.nn.functional.pairwise_distance(student, teacher).mean()
    torch.testing.assert_close(absolute(student, teacher), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_the_two_agree_it_is_next_to_0_with_a_finite_gradient(dtype: torch.dtype) -> None:
    teacher = torch.from_numpy(unit(rows(4, 9))).to(dtype)
    student = teacher.clone().requires_grad_()
    loss = absolute(student, teacher)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(3e-6, rel=0.2)
    assert gradient.isfinite().all() and gradient.norm(dim=1).max() <= 0.26  # 1/B for each image
