"""The tuple losses are their formulas, in value and gradient, for one tuple and for many."""

import inspect
import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from student_trainer.distil.objectives.tuples import contrastive, multi_similarity, triplet
from student_trainer.errors import InvalidInput

Loss = Callable[..., Tensor]
LOSSES = [contrastive, triplet, multi_similarity]
SHAPES = st.tuples(st.integers(1, 9), st.integers(0, 4), st.integers(0, 6), st.integers(0, 2**16))
"""Dimensions, positives, negatives, seed."""


def descriptors(*shape: int, seed: int = 0) -> Tensor:
    """Unit rows in float64."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(*shape, dtype=torch.float64, generator=random)
    return torch.nn.functional.normalize(rows, dim=-1)


def distance(a: list[float], b: list[float]) -> float:
    return math.sqrt(sum((x - y + 1e-6) ** 2 for x, y in zip(a, b, strict=True)))


def contrastive_written_out(
    anchor: Tensor, positives: Tensor, negatives: Tensor, margin: float = 0.7
) -> float:
    """sum 1/2 d(a,p)^2 + sum 1/2 [m - d(a,n)]_+^2, number by number."""
    a = anchor.tolist()
    near = sum(0.5 * distance(a, p) ** 2 for p in positives.tolist())
    return near + sum(0.5 * max(0.0, margin - distance(a, n)) ** 2 for n in negatives.tolist())


def triplet_written_out(anchor: Tensor, positives: Tensor, negatives: Tensor, margin: float = 0.1) -> float:
    """sum [d^2(a,p) - d^2(a,n) + m]_+ over all pairs of a positive and a negative."""

    def squared(a: list[float], b: list[float]) -> float:
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    a = anchor.tolist()
    return sum(
        max(0.0, squared(a, p) - squared(a, n) + margin)
        for p, n in product(positives.tolist(), negatives.tolist())
    )


def multi_similarity_written_out(
    anchor: Tensor,
    positives: Tensor,
    negatives: Tensor,
    alpha: float = 2.0,
    beta: float = 40.0,
    threshold: float = 0.5,
) -> float:
    """log(1 + sum exp(-alpha (c_p - t))) / alpha + log(1 + sum exp(beta (c_n - t))) / beta."""

    def cosines(others: Tensor) -> list[float]:
        return [sum(x * y for x, y in zip(anchor.tolist(), o, strict=True)) for o in others.tolist()]

    near = sum(math.exp(-alpha * (c - threshold)) for c in cosines(positives))
    far = sum(math.exp(beta * (c - threshold)) for c in cosines(negatives))
    return math.log(1 + near) / alpha + math.log(1 + far) / beta


WRITTEN_OUT = [contrastive_written_out, triplet_written_out, multi_similarity_written_out]


def contrastive_slope(anchor: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> np.ndarray:
    """Its derivative with respect to the anchor: sum (a - p) - sum [m - d]_+ (a - n) / d."""
    a = anchor.numpy()
    slope = sum((a - p + 1e-6 for p in positives.numpy()), start=np.zeros_like(a))
    for n in negatives.numpy():
        difference = a - n + 1e-6
        length = np.sqrt((difference**2).sum())
        slope = slope - max(0.0, margin - length) * difference / length
    return slope


def triplet_slope(anchor: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> np.ndarray:
    """With respect to the anchor: 2 (n - p) of every pair that costs."""
    a, slope = anchor.numpy(), np.zeros(len(anchor))
    for p, n in product(positives.numpy(), negatives.numpy()):
        costs = ((a - p) ** 2).sum() - ((a - n) ** 2).sum() + margin > 0
        slope = slope + 2 * costs * (n - p)
    return slope


def multi_similarity_slope(
    anchor: Tensor, positives: Tensor, negatives: Tensor, alpha: float, beta: float, threshold: float
) -> np.ndarray:
    """With respect to the anchor: the weighted mean of the negatives minus that of the positives, where the
    weights leave a part to the 1 that nobody has."""
    a, slope = anchor.numpy(), np.zeros(len(anchor))
    for others, rate, sign in ((positives.numpy(), -alpha, -1.0), (negatives.numpy(), beta, 1.0)):
        weights = [math.exp(rate * (float(a @ other) - threshold)) for other in others]
        for weight, other in zip(weights, others, strict=True):
            slope = slope + sign * weight / (1 + sum(weights)) * other
    return slope


def parts(dim: int, positives: int, negatives: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    rows = descriptors(1 + positives + negatives, dim, seed=seed)
    return rows[0].clone().requires_grad_(), rows[1 : 1 + positives], rows[1 + positives :]


def check(found: Tensor, value: float, leaf: Tensor, slope: np.ndarray) -> None:
    assert found.shape == ()
    assert found.item() == pytest.approx(value, rel=1e-12, abs=1e-14)
    (gradient,) = torch.autograd.grad(found, leaf)
    assert gradient.tolist() == pytest.approx(slope.tolist(), rel=1e-10, abs=1e-12)


@given(SHAPES, st.floats(0.05, 2.0))
def test_contrastive_and_its_gradient_are_the_formula_written_out(
    shape: tuple[int, int, int, int], margin: float
) -> None:
    anchor, near, far = parts(*shape)
    value = contrastive_written_out(anchor, near, far, margin)
    slope = contrastive_slope(anchor.detach(), near, far, margin)
    check(contrastive(anchor, near, far, margin), value, anchor, slope)


@given(SHAPES, st.floats(0.0, 3.0))
def test_triplet_and_its_gradient_are_the_formula_written_out(
    shape: tuple[int, int, int, int], margin: float
) -> None:
    anchor, near, far = parts(*shape)
    value = triplet_written_out(anchor, near, far, margin)
    check(
        triplet(anchor, near, far, margin), value, anchor, triplet_slope(anchor.detach(), near, far, margin)
    )


@given(SHAPES, st.floats(0.1, 5.0), st.floats(0.1, 50.0), st.floats(-0.9, 0.9))
def test_multi_similarity_and_its_gradient_are_the_formula_written_out(
    shape: tuple[int, int, int, int], alpha: float, beta: float, threshold: float
) -> None:
    anchor, near, far = parts(*shape)
    settings = (alpha, beta, threshold)
    value = multi_similarity_written_out(anchor, near, far, *settings)
    slope = multi_similarity_slope(anchor.detach(), near, far, *settings)
    check(multi_similarity(anchor, near, far, *settings), value, anchor, slope)


@pytest.mark.parametrize(("loss", "written_out"), list(zip(LOSSES, WRITTEN_OUT, strict=True)))
def test_the_settings_of_the_source_are_the_defaults(loss: Loss, written_out: Callable[..., float]) -> None:
    rows = descriptors(8, 3, seed=2)
    found = loss(rows[0], rows[1:3], rows[3:]).item()
    assert found == pytest.approx(written_out(rows[0], rows[1:3], rows[3:]), rel=1e-12) and found > 0
    settings = list(inspect.signature(loss).parameters.values())[3:]
    assert {setting.name: setting.default for setting in settings} == {
        contrastive: {"margin": 0.7},
        triplet: {"margin": 0.1},
        multi_similarity: {"alpha": 2.0, "beta": 40.0, "threshold": 0.5},
    }[loss]


@pytest.mark.parametrize(("loss", "setting"), [(contrastive, 1.2), (triplet, 1.0), (multi_similarity, 2.0)])
def test_a_loss_passes_gradcheck_in_all_three(loss: Loss, setting: float) -> None:
    rows = descriptors(8, 5, seed=3)
    leaves = [part.clone().requires_grad_() for part in (rows[0], rows[1:3], rows[3:])]
    assert torch.autograd.gradcheck(lambda a, p, n: loss(a, p, n, setting), leaves)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_many_tuples_is_the_sum_of_theirs(loss: Loss) -> None:
    tuples = descriptors(4, 7, 6, seed=5)
    together = loss(tuples[:, 0], tuples[:, 1:3], tuples[:, 3:], 1.1)
    alone = [loss(rows[0], rows[1:3], rows[3:], 1.1) for rows in tuples]
    assert together.item() == pytest.approx(sum(one.item() for one in alone), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_without_others_there_is_nothing_to_pay(loss: Loss) -> None:
    anchor, nobody = descriptors(4).requires_grad_(), torch.empty(0, 4, dtype=torch.float64)
    found = loss(anchor, nobody, nobody)
    (slope,) = torch.autograd.grad(found, anchor)
    assert found == 0 and (slope == 0).all()


def test_multi_similarity_does_not_overflow_in_float32() -> None:
    anchor = torch.ones(4).div(2).requires_grad_()
    found = multi_similarity(anchor, -anchor.detach()[None], anchor.detach()[None], 200.0, 200.0)
    (slope,) = torch.autograd.grad(found, anchor)
    assert found.item() == pytest.approx(1.5 + 0.5) and slope.isfinite().all()


def test_a_negative_beyond_the_margin_costs_nothing_and_moves_nothing() -> None:
    anchor = torch.tensor([1.0, 0.0]).requires_grad_()
    far = torch.tensor([[0.0, 1.0]])  # at a distance of sqrt(2)
    loss = contrastive(anchor, torch.empty(0, 2), far)
    (slope,) = torch.autograd.grad(loss, anchor)
    assert loss == 0
    assert (slope == 0).all()
    assert contrastive(anchor, torch.empty(0, 2), far, margin=1.5) > 0


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_images_have_a_finite_loss_and_gradient(loss: Loss) -> None:
    anchor = descriptors(4).requires_grad_()
    found = loss(anchor, anchor.detach()[None], anchor.detach()[None])
    (slope,) = torch.autograd.grad(found, anchor)
    expected = {
        contrastive: 0.5 * 0.7**2,
        triplet: 0.1,
        multi_similarity: 0.5 * math.log1p(math.exp(-1)) + 0.5,
    }
    assert found.item() == pytest.approx(expected[loss], rel=1e-4)
    assert slope.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("anchor", "positives", "negatives"),
    [((5,), (2, 5), (3, 4)), ((5,), (5,), (3, 5)), ((2, 5), (3, 1, 5), (2, 3, 5)), ((1, 2, 5), (5,), (5,))],
)
def test_shapes_that_do_not_belong_together_are_refused(
    loss: Loss, anchor: tuple[int, ...], positives: tuple[int, ...], negatives: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidInput, match=r"A tuple is an anchor \[d\]"):
        loss(torch.ones(anchor), torch.ones(positives), torch.ones(negatives))
