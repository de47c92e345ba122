"""``darkrank-soft`` and ``darkrank-hard``: probabilities of orders of each query's nearest images."""

from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from independent_forms import Rows, assert_same, distances, rows, unit

from student_trainer.distil.objectives import get
from student_trainer.distil.objectives.darkrank_hard import darkrank_hard
from student_trainer.distil.objectives.darkrank_soft import darkrank_soft
from student_trainer.distil.objectives.plackett_luce import list_scores, log_probabilities
from student_trainer.errors import InvalidInput

NAMES = ["darkrank-soft", "darkrank-hard"]


def probability(scores: Rows) -> float:
    """Of drawing them in the order in which they stand, without putting back."""
    found = 1.0
    for place in range(len(scores)):
        found *= np.exp(scores[place]) / np.sum(np.exp(scores[place:]))
    return found


def from_the_definition(
    student: Rows, teacher: Rows, *, soft: bool, alpha: float = 3.0, beta: float = 3.0, length: int = 4
) -> float:
    ours, theirs = (-alpha * distances(unit(some)) ** beta for some in (student, teacher))
    losses = []
    for query in range(len(student)):
        others = [image for image in range(len(student)) if image != query]
        nearest = sorted(others, key=lambda image: -theirs[query, image])[:length]
        if not soft:
            losses.append(-np.log(probability(ours[query, nearest])))
            continue
        orders = [list(order) for order in permutations(nearest)]
        target = [probability(theirs[query, order]) for order in orders]
        found = [probability(ours[query, order]) for order in orders]
        assert sum(target) == pytest.approx(1) == sum(found)
        losses.append(sum(p * np.log(p / q) for p, q in zip(target, found, strict=True)))
    return float(np.mean(losses))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("images", "student_dim", "teacher_dim"), [(5, 4, 4), (7, 3, 6)])
def test_it_has_the_value_and_gradient_of_its_definition(
    name: str, images: int, student_dim: int, teacher_dim: int
) -> None:
    form = partial(from_the_definition, soft=name == "darkrank-soft")
    student, teacher = rows(images, student_dim), rows(images, teacher_dim, seed=1)
    assert_same(get(name)(), form, student, teacher)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("alpha", "beta", "length"), [(1.0, 1.0, 2), (10.0, 2.0, 3)])
def test_its_settings_are_those_of_the_definition(name: str, alpha: float, beta: float, length: int) -> None:
    form = partial(from_the_definition, soft=name == "darkrank-soft", alpha=alpha, beta=beta, length=length)
    objective = get(name)(alpha=alpha, beta=beta, list_length=length)
    assert_same(objective, form, rows(6, 3), rows(6, 3, seed=1))


def test_probabilities_of_all_orders_add_up_to_1_even_for_scores_far_apart() -> None:
    scores = torch.tensor([[0.0, -800.0, 3.0, -1.0], [5.0, 5.0, 5.0, 5.0]], dtype=torch.float64)
    orders = torch.tensor(list(permutations(range(4))))
    total = log_probabilities(scores[:, orders]).exp().sum(dim=1)
    torch.testing.assert_close(total, torch.ones(2, dtype=torch.float64))


def test_a_list_leaves_the_query_out_and_takes_the_first_of_equally_near_images() -> None:
    """Images 0, 1 and 3 are copies: in a list of one of them stand the other two, and no image twice."""
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    student = torch.from_numpy(rows(4, 3))
    by_student, by_teacher = list_scores(student, teacher, 1.0, 1.0, 2)
    far = distances(unit(student.numpy()))
    expected = -np.array(
        [[far[q, i] for i in some] for q, some in enumerate([(1, 3), (0, 3), (0, 1), (0, 1)])]
    )
    np.testing.assert_allclose(by_student.numpy(), expected, rtol=1e-9)
    np.testing.assert_allclose(by_teacher.numpy(), [[0, 0], [0, 0], [-(2**0.5)] * 2, [0, 0]], atol=1e-12)


def test_soft_is_0_where_the_two_agree_and_hard_is_not() -> None:
    teacher = torch.from_numpy(rows(6, 3))
    assert abs(darkrank_soft(teacher, teacher).item()) < 1e-15
    assert darkrank_hard(teacher, teacher).item() > 0.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("images", [1, 3, 4])
def test_a_batch_without_a_list_is_refused(name: str, images: int) -> None:
    with pytest.raises(InvalidInput, match=rf"a batch of 5 or more, but this one has {images}\."):
        get(name)()(torch.from_numpy(rows(images, 3)), torch.from_numpy(rows(images, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_equal_images_leave_a_finite_loss_and_nothing_to_improve(name: str) -> None:
    student = torch.ones(6, 3, dtype=torch.float64, requires_grad=True)
    loss = get(name)(beta=1.0)(student, torch.from_numpy(rows(6, 3)))
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.isfinite() and (gradient == 0).all()
    if name == "darkrank-hard":
        assert loss.item() == pytest.approx(np.log(24))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.0}, r"alpha = 0\.0"),
        ({"alpha": float("inf")}, "alpha = inf"),
        ({"beta": 0.5}, r"beta = 0\.5"),
        ({"beta": float("nan")}, "beta = nan"),
        ({"list_length": 1}, "list_length = 1"),
        ({"list_length": 2.5}, r"list_length = 2\.5"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_at_once(
    name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        get(name)(**settings)


def test_soft_refuses_lists_with_too_many_orders_and_hard_takes_them() -> None:
    student, teacher = torch.from_numpy(rows(9, 3)), torch.from_numpy(rows(9, 3, seed=1))
    with pytest.raises(InvalidInput, match=r"list_length = 7: .* darkrank-hard"):
        get("darkrank-soft")(list_length=7)
    with pytest.raises(InvalidInput, match="list_length = 7"):
        darkrank_soft(student, teacher, list_length=7)
    assert darkrank_soft(student, teacher, list_length=6).isfinite()
    assert get("darkrank-hard")(list_length=7)(student, teacher).isfinite()
