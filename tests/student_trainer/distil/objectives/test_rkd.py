"""Relational knowledge distillation: distances in their own mean, angles of triplets, and both."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from independent_forms import Form, Rows, assert_same, distance, distances, huber, rows, unit
from torch import Tensor

from student_trainer.distil.objectives import get
from student_trainer.distil.objectives import rkd_angle as module
from student_trainer.distil.objectives.rkd import RKD, rkd
from student_trainer.distil.objectives.rkd_angle import rkd_angle
from student_trainer.distil.objectives.rkd_distance import rkd_distance
from student_trainer.errors import InvalidInput


def by_distance(student: Rows, teacher: Rows) -> float:
    def in_their_mean(lengths: Rows) -> Rows:
        return lengths / lengths[lengths > 0].mean()

    ours, theirs = in_their_mean(distances(student)), in_their_mean(distances(unit(teacher)))
    return float(np.mean([huber(gap) for gap in (ours - theirs).flat]))


def by_angle(student: Rows, teacher: Rows) -> float:
    def direction(descriptors: Rows, i: int, j: int) -> Rows:
        length = distance(descriptors[i], descriptors[j])
        return (descriptors[i] - descriptors[j]) / length if length else 0 * descriptors[i]

    def cosine(descriptors: Rows, i: int, j: int, k: int) -> float:
        return float(np.dot(direction(descriptors, i, j), direction(descriptors, i, k)))

    units, triplets = unit(teacher), product(range(len(student)), repeat=3)
    return float(
        np.mean([huber(cosine(student, *triplet) - cosine(units, *triplet)) for triplet in triplets])
    )


def by_both(student: Rows, teacher: Rows) -> float:
    return by_distance(student, teacher) + 2 * by_angle(student, teacher)


FORMS: dict[str, tuple[Callable[..., Tensor], Form]] = {
    "rkd-distance": (rkd_distance, by_distance),
    "rkd-angle": (rkd_angle, by_angle),
    "rkd": (rkd, by_both),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(("images", "student_dim", "teacher_dim"), [(2, 3, 3), (5, 3, 6), (5, 4, 2)])
def test_it_has_the_value_and_gradient_of_its_definition(
    name: str, images: int, student_dim: int, teacher_dim: int
) -> None:
    _, form = FORMS[name]
    student, teacher = rows(images, student_dim), rows(images, teacher_dim, seed=1)
    assert_same(get(name)(), form, student, teacher)


@pytest.mark.parametrize("name", FORMS)
def test_the_student_is_normalised_if_that_is_asked_for(name: str) -> None:
    _, form = FORMS[name]
    student, teacher = rows(5, 3), rows(5, 4, seed=1)

    def of_units(student: Rows, teacher: Rows) -> float:
        return form(unit(student), teacher)

    assert_same(get(name)(normalise_student=True), of_units, student, teacher)
    assert abs(of_units(student, teacher) - form(student, teacher)) > 1e-4


def test_two_copies_have_no_direction_between_them() -> None:
    student, teacher = rows(5, 3), rows(5, 4, seed=1)
    student[3], teacher[1] = student[0], teacher[2]
    found = rkd_angle(torch.from_numpy(student), torch.from_numpy(teacher))
    assert found.item() == pytest.approx(by_angle(student, teacher), rel=1e-12)


def test_angles_do_not_depend_on_how_the_anchors_are_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = torch.from_numpy(rows(9, 4)).requires_grad_(), torch.from_numpy(rows(9, 3, seed=1))
    found = []
    for anchors in (1, 2, 4, 100):
        monkeypatch.setattr(module, "_BLOCK_TRIPLETS_CPU", anchors * 81)
        loss = rkd_angle(student, teacher)
        found.append(torch.cat([loss[None], torch.autograd.grad(3 * loss, student)[0].flatten()]))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-12, atol=1e-15)


def test_a_scaled_shifted_and_turned_student_is_as_good_as_the_teacher() -> None:
    teacher = torch.from_numpy(unit(rows(6, 3)))
    turn, _ = torch.linalg.qr(torch.from_numpy(rows(3, 3, seed=1)))
    student = 5 * teacher @ turn + torch.tensor([1.0, -2.0, 0.5])
    for function, _ in FORMS.values():
        assert function(student, teacher).item() < 1e-14


def test_no_block_of_angles_takes_more_than_its_share_of_memory() -> None:
    """All triplets at once would be 64 times as much; a full size is measured by the benchmark."""
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[name-defined,misc]
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            made = function(*args, **(kwargs or {}))
            if isinstance(made, Tensor):
                largest = max(largest, made.untyped_storage().nbytes())
            return made

    student, teacher = torch.from_numpy(rows(64, 8)).requires_grad_(), torch.from_numpy(rows(64, 8, seed=1))
    with Watch():
        rkd_angle(student, teacher).backward()
    assert largest <= 8 * (1 << 16) < 8 * 64**3


def test_the_weights_weigh() -> None:
    student, teacher = torch.from_numpy(rows(5, 3)), torch.from_numpy(rows(5, 3, seed=1))
    found = RKD(distance_weight=0.5, angle_weight=3.0)(student, teacher)
    expected = 0.5 * rkd_distance(student, teacher) + 3 * rkd_angle(student, teacher)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"distance_weight": -1.0},
        {"angle_weight": float("nan")},
        {"angle_weight": float("inf")},
        {"distance_weight": 0.0, "angle_weight": 0.0},
    ],
)
def test_weights_that_weigh_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="take numbers from 0 up"):
        RKD(**settings)
