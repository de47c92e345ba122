"""``pkt`` is the mean divergence of the two matrices of neighbour probabilities."""

import numpy as np
import pytest
import torch
from independent_forms import Rows, assert_same, rows, unit

from student_trainer.distil.objectives import get
from student_trainer.distil.objectives.pkt import pkt


def from_the_definition(student: Rows, teacher: Rows) -> float:
    def probabilities(descriptors: Rows) -> Rows:
        units = unit(descriptors)
        kernel = np.array([[(np.dot(a, b) + 1) / 2 for b in units] for a in units])
        return np.stack([row / np.sum(row) for row in kernel])

    ours, theirs = probabilities(student), probabilities(teacher)
    return float(np.mean(theirs * np.log((theirs + 1e-7) / (ours + 1e-7))))


@pytest.mark.parametrize(("images", "student_dim", "teacher_dim"), [(2, 3, 3), (6, 3, 6), (7, 5, 2)])
def test_it_has_the_value_and_gradient_of_its_definition(
    images: int, student_dim: int, teacher_dim: int
) -> None:
    student, teacher = rows(images, student_dim), rows(images, teacher_dim, seed=1)
    assert_same(get("pkt")(), from_the_definition, student, teacher)


def test_it_is_0_where_the_two_agree() -> None:
    teacher = torch.from_numpy(rows(5, 3))
    assert abs(pkt(2 * teacher, teacher).item()) < 1e-16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opposite_images_leave_it_finite(dtype: torch.dtype) -> None:
    base = torch.from_numpy(rows(3, 50)).to(dtype)
    student = torch.cat([base, -base]).requires_grad_()
    loss = pkt(student, torch.from_numpy(rows(6, 4)))
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.isfinite() and gradient.isfinite().all()
