"""The losses of Yu et al.: triplets of the labelled images, and the teacher's word on all."""

import math

import pytest
import torch
from torch import Tensor

from student_trainer.distil.objectives.batch_hard import batch_hard_triplet
from student_trainer.distil.objectives.lmt import LmtAbsolute, LmtRelative
from student_trainer.errors import InvalidInput

LABELS = torch.tensor([0, 0, 1, 1, 1, -1, -1, 2])
NONE = torch.full((8,), -1)


def batch(teacher_dim: int = 5) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    student = torch.randn(8, 5, dtype=torch.float64, generator=random).requires_grad_()
    return student, torch.randn(8, teacher_dim, dtype=torch.float64, generator=random)


def units(rows: Tensor) -> Tensor:
    return torch.stack([row / row.norm() for row in rows])


def absolute_by_definition(student: Tensor, teacher: Tensor) -> Tensor:
    gaps = [
        math.fsum((s - t + 1e-6) ** 2 for s, t in zip(a, b, strict=True)) ** 0.5
        for a, b in zip(units(student).tolist(), units(teacher).tolist(), strict=True)
    ]
    return torch.tensor(math.fsum(gaps) / len(gaps))


def relative_by_definition(student: Tensor, teacher: Tensor) -> Tensor:
    s, t = units(student), units(teacher)
    squares = [
        ((s[i] - s[j]).norm() - (t[i] - t[j]).norm()) ** 2
        for i in range(len(s))
        for j in range(len(s))
        if i != j
    ]
    return torch.stack(squares).sum().sqrt()


def test_absolute_is_the_triplet_plus_its_weight_times_the_mean_distance_to_the_teacher() -> None:
    student, teacher = batch()
    expected = batch_hard_triplet(student, LABELS) + 1.5 * absolute_by_definition(student, teacher)
    assert LmtAbsolute(weight=1.5)(student, teacher, LABELS).item() == pytest.approx(expected.item())


def test_relative_is_the_triplet_plus_its_weight_times_the_difference_of_distances() -> None:
    student, teacher = batch(teacher_dim=7)
    expected = batch_hard_triplet(student, LABELS, 0.2) + 0.3 * relative_by_definition(student, teacher)
    loss = LmtRelative(margin=0.2)(student, teacher, LABELS)
    assert loss.item() == pytest.approx(expected.item())
    torch.testing.assert_close(*(torch.autograd.grad(value, student)[0] for value in (loss, expected)))


@pytest.mark.parametrize("kind", [LmtAbsolute, LmtRelative])
def test_their_gradients_pass_gradcheck(kind: type[LmtAbsolute | LmtRelative]) -> None:
    student, teacher = batch()
    objective = kind(margin=0.1)
    assert torch.autograd.gradcheck(lambda x: objective(x, teacher, LABELS), (student,))


@pytest.mark.parametrize("kind", [LmtAbsolute, LmtRelative])
def test_on_unlabelled_images_the_teacher_alone_teaches(kind: type[LmtAbsolute | LmtRelative]) -> None:
    student, teacher = batch()
    loss = kind(weight=2.0)(student, teacher, NONE)
    half = kind(weight=1.0)(student, teacher, NONE)
    assert loss.item() == pytest.approx(2 * half.item())
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.any(dim=1).all()


@pytest.mark.parametrize("kind", [LmtAbsolute, LmtRelative])
def test_an_unlabelled_image_of_a_mixed_batch_learns_too(kind: type[LmtAbsolute | LmtRelative]) -> None:
    student, teacher = batch()
    (gradient,) = torch.autograd.grad(kind()(student, teacher, LABELS), student)
    assert gradient[LABELS == -1].any(dim=1).all()


def test_a_shorter_student_learns_a_projection_for_the_teacher_and_is_ranked_without_it() -> None:
    student, teacher = batch(teacher_dim=9)
    objective = LmtAbsolute()
    loss = objective(student, teacher, LABELS)
    assert objective.head is not None
    assert (objective.head.in_dim, objective.head.out_dim) == (5, 9)
    expected = batch_hard_triplet(student, LABELS) + objective.distillation(student, teacher)
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()  # type: ignore[no-untyped-call]
    assert objective.head.linear.weight.grad is not None and objective.head.linear.weight.grad.any()


def test_equal_dimensions_need_no_projection() -> None:
    objective = LmtAbsolute()
    objective(*batch(), LABELS)
    assert objective.head is None


@pytest.mark.parametrize("kind", [LmtAbsolute, LmtRelative])
@pytest.mark.parametrize("images", [1, 6])
def test_equal_images_and_a_single_one_give_a_finite_loss_and_gradient(
    kind: type[LmtAbsolute | LmtRelative], images: int
) -> None:
    student = torch.ones(images, 5, requires_grad=True)
    loss = kind()(student, torch.ones(images, 5), torch.arange(images) % 2)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize("kind", [LmtAbsolute, LmtRelative])
@pytest.mark.parametrize(
    ("settings", "message"),
    [({"weight": -1.0}, "from 0 up"), ({"weight": math.inf}, "0 up"), ({"margin": -0.5}, "margin")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(
    kind: type[LmtAbsolute | LmtRelative], settings: dict[str, float], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        kind(**settings)


@pytest.mark.parametrize("kind", [LmtAbsolute, LmtRelative])
def test_missing_labels_and_missing_descriptors_are_refused(kind: type[LmtAbsolute | LmtRelative]) -> None:
    student, teacher = batch()
    with pytest.raises(InvalidInput, match="needs labels"):
        kind()(student, teacher, None)
    with pytest.raises(InvalidInput, match="needs the teacher's descriptors"):
        kind()(student, None, LABELS)


def test_only_the_absolute_one_puts_the_student_into_the_teachers_space() -> None:
    assert LmtAbsolute.facts.in_teachers_space and not LmtRelative.facts.in_teachers_space
    assert LmtAbsolute.facts.learns_unlabelled and LmtRelative.facts.learns_unlabelled
