"""Context-unaware distillation: the mean squared error of two descriptors, and its projection."""

import math

import pytest
import torch
from torch import Tensor

from student_trainer.distil import objectives
from student_trainer.distil.descriptors import BadDescriptors
from student_trainer.distil.objectives.mse import mean_squared_error
from student_trainer.errors import InvalidInput


def rows(images: int, dim: int, seed: int) -> Tensor:
    return torch.randn(images, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_definition(student: Tensor, teacher: Tensor, scale: float) -> float:
    total, (images, dim) = 0.0, student.shape
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        a, b = math.dist(s, [0.0] * dim), math.dist(t, [0.0] * dim)
        total += sum((scale * x / a - scale * y / b) ** 2 for x, y in zip(s, t, strict=True))
    return total / (images * dim)


@pytest.mark.parametrize("scale", [1.0, 45.25])
def test_it_is_the_mean_squared_error_of_the_lengthened_descriptors(scale: float) -> None:
    student, teacher = rows(5, 6, 1), rows(5, 6, 2)
    found = objectives.get("mse")(scale=scale)(student, teacher)
    assert found.item() == pytest.approx(by_definition(student, teacher, scale), rel=1e-12)


def test_its_gradient_is_that_of_the_definition() -> None:
    student, teacher = rows(4, 3, 3).requires_grad_(), rows(4, 3, 4)
    (found,) = torch.autograd.grad(mean_squared_error(student, teacher, 2.0), student)
    units, goal = student / student.norm(dim=1, keepdim=True), teacher / teacher.norm(dim=1, keepdim=True)
    slope = 2 * 4.0 / 12 * (units - goal).detach()
    along = (slope * units).sum(dim=1, keepdim=True) * units
    torch.testing.assert_close(found, ((slope - along) / student.norm(dim=1, keepdim=True)).detach())
    assert torch.autograd.gradcheck(lambda x: mean_squared_error(x, teacher, 2.0), (student,))


def test_equal_directions_cost_nothing_whatever_their_lengths() -> None:
    student = rows(3, 5, 5)
    assert mean_squared_error(student, 7.0 * student).item() == pytest.approx(0.0, abs=1e-30)
    assert mean_squared_error(student, -student).item() == pytest.approx(4 / 5)


def test_a_shorter_student_learns_a_projection_without_bias() -> None:
    student, teacher = rows(6, 4, 6).requires_grad_(), rows(6, 9, 7)
    objective = objectives.get("mse")()
    loss = objective(student, teacher)
    head = objective.head
    assert (head.kind, head.in_dim, head.out_dim, head.linear.bias) == ("projection", 4, 9, None)
    units = student.detach() / student.detach().norm(dim=1, keepdim=True)
    projected = units @ head.linear.weight.detach().T
    assert loss.item() == pytest.approx(by_definition(projected, teacher, 1.0), rel=1e-5)  # L2 adds 1e-6
    weight, descriptors = torch.autograd.grad(loss, (head.linear.weight, student))
    assert weight.any() and descriptors.any(dim=1).all()


@pytest.mark.parametrize("images", [1, 6])
def test_one_image_and_equal_images_are_finite(images: int) -> None:
    student = rows(1, 4, 8).repeat(images, 1).requires_grad_()
    loss = objectives.get("mse")()(student, rows(images, 4, 9))
    assert torch.isfinite(loss) and torch.isfinite(torch.autograd.grad(loss, student)[0]).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_length_that_is_not_positive_is_refused(scale: float) -> None:
    with pytest.raises(InvalidInput, match=r"scale = .*the root of the teacher's dimension"):
        objectives.get("mse")(scale=scale)


def test_a_missing_teacher_and_a_descriptor_without_direction_are_refused() -> None:
    with pytest.raises(InvalidInput, match="mse needs the teacher's descriptors"):
        objectives.get("mse")()(rows(2, 3, 0), None)
    with pytest.raises(BadDescriptors, match="row 1"):
        objectives.get("mse")()(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.ones(2, 2))
