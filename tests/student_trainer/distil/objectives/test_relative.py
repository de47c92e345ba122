"""``relative`` is the Frobenius norm of the difference of the two distance matrices."""

import numpy as np
import pytest
import torch
from independent_forms import Rows, assert_same, distances, rows, unit

from student_trainer.distil.objectives import get
from student_trainer.distil.objectives.relative import relative


def from_the_definition(student: Rows, teacher: Rows) -> float:
    return float(np.sqrt(np.sum((distances(unit(student)) - distances(unit(teacher))) ** 2)))


@pytest.mark.parametrize(("student_dim", "teacher_dim"), [(4, 4), (3, 6), (6, 2)])
def test_it_has_the_value_and_gradient_of_its_definition(student_dim: int, teacher_dim: int) -> None:
    student, teacher = rows(6, student_dim), rows(6, teacher_dim, seed=1)
    assert_same(get("relative")(), from_the_definition, student, teacher)


def test_it_is_a_norm_and_not_a_mean() -> None:
    student, teacher = torch.from_numpy(rows(5, 3)), torch.from_numpy(rows(5, 3, seed=1))
    twice = relative(student.repeat(2, 1), teacher.repeat(2, 1))
    torch.testing.assert_close(twice, 2 * relative(student, teacher))


def test_it_is_0_with_gradient_0_where_the_distances_agree() -> None:
    teacher = torch.from_numpy(rows(5, 3))
    rotation, _ = torch.linalg.qr(torch.from_numpy(rows(3, 3, seed=1)))
    for student in (teacher.clone(), teacher @ rotation):
        loss = relative(student.requires_grad_(), teacher)
        (gradient,) = torch.autograd.grad(loss, student)
        assert loss.item() < 1e-14 and gradient.isfinite().all()
    (gradient,) = torch.autograd.grad(relative(teacher.requires_grad_(), teacher.detach()), teacher)
    assert (gradient == 0).all()
