"""The tuple losses are their formulas, in value and gradient, for one tuple and for many."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from student_trainer.distil.objectives.tuples import contrastive
from student_trainer.errors import InvalidInput


def descriptors(*shape: int, seed: int = 0) -> Tensor:
    """Unit rows in float64."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(*shape, dtype=torch.float64, generator=random)
    return torch.nn.functional.normalize(rows, dim=-1)


def distance(a: list[float], b: list[float]) -> float:
    return math.sqrt(sum((x - y + 1e-6) ** 2 for x, y in zip(a, b, strict=True)))


def written_out(anchor: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> float:
    """sum 1/2 d(a,p)^2 + sum 1/2 [m - d(a,n)]_+^2, number by number."""
    a = anchor.tolist()
    near = sum(0.5 * distance(a, p) ** 2 for p in positives.tolist())
    return near + sum(0.5 * max(0.0, margin - distance(a, n)) ** 2 for n in negatives.tolist())


def slope_by_anchor(anchor: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> list[float]:
    """Its derivative with respect to the anchor: sum (a - p) - sum [m - d]_+ (a - n) / d."""
    a = anchor.numpy()
    slope = sum((a - p + 1e-6 for p in positives.numpy()), start=np.zeros_like(a))
    for n in negatives.numpy():
        difference = a - n + 1e-6
        length = np.sqrt((difference**2).sum())
        slope = slope - max(0.0, margin - length) * difference / length
    return list(slope)


@given(
    dim=st.integers(1, 9),
    positives=st.integers(0, 4),
    negatives=st.integers(0, 6),
    margin=st.floats(0.05, 2.0),
    seed=st.integers(0, 2**16),
)
def test_contrastive_and_its_gradient_are_the_formula_written_out(
    dim: int, positives: int, negatives: int, margin: float, seed: int
) -> None:
    rows = descriptors(1 + positives + negatives, dim, seed=seed)
    anchor, near, far = rows[0], rows[1 : 1 + positives], rows[1 + positives :]
    leaf = anchor.clone().requires_grad_()
    loss = contrastive(leaf, near, far, margin)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(written_out(anchor, near, far, margin), rel=1e-12, abs=1e-14)
    (slope,) = torch.autograd.grad(loss, leaf)
    assert slope.tolist() == pytest.approx(slope_by_anchor(anchor, near, far, margin), rel=1e-10, abs=1e-12)


def test_contrastive_passes_gradcheck_in_all_three() -> None:
    rows = descriptors(8, 5, seed=3)
    parts = [part.clone().requires_grad_() for part in (rows[0], rows[1:3], rows[3:])]
    assert torch.autograd.gradcheck(lambda a, p, n: contrastive(a, p, n, margin=1.2), parts)


def test_the_loss_of_many_tuples_is_the_sum_of_theirs() -> None:
    tuples = descriptors(4, 7, 6, seed=5)
    together = contrastive(tuples[:, 0], tuples[:, 1:3], tuples[:, 3:], 1.1)
    alone = [contrastive(rows[0], rows[1:3], rows[3:], 1.1) for rows in tuples]
    assert together.item() == pytest.approx(sum(loss.item() for loss in alone), rel=1e-12)


def test_a_negative_beyond_the_margin_costs_nothing_and_moves_nothing() -> None:
    anchor = torch.tensor([1.0, 0.0]).requires_grad_()
    far = torch.tensor([[0.0, 1.0]])  # at a distance of sqrt(2)
    loss = contrastive(anchor, torch.empty(0, 2), far)
    (slope,) = torch.autograd.grad(loss, anchor)
    assert loss == 0
    assert (slope == 0).all()
    assert contrastive(anchor, torch.empty(0, 2), far, margin=1.5) > 0


def test_equal_images_have_a_finite_gradient() -> None:
    anchor = descriptors(4).requires_grad_()
    loss = contrastive(anchor, anchor.detach()[None], anchor.detach()[None])
    (slope,) = torch.autograd.grad(loss, anchor)
    assert loss.item() == pytest.approx(0.5 * 0.7**2, rel=1e-4)
    assert slope.isfinite().all()


@pytest.mark.parametrize(
    ("anchor", "positives", "negatives"),
    [((5,), (2, 5), (3, 4)), ((5,), (5,), (3, 5)), ((2, 5), (3, 1, 5), (2, 3, 5)), ((1, 2, 5), (5,), (5,))],
)
def test_shapes_that_do_not_belong_together_are_refused(
    anchor: tuple[int, ...], positives: tuple[int, ...], negatives: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidInput, match=r"A tuple is an anchor \[d\]"):
        contrastive(torch.ones(anchor), torch.ones(positives), torch.ones(negatives))
