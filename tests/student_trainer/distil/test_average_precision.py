"""The quantised average precision: values, derivatives, and edges."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from student_trainer.distil import average_precision
from student_trainer.distil.average_precision import Bins, binned_ap_loss, square_ap_loss
from student_trainer.distil.rank_loss.reference import ap_losses
from student_trainer.errors import InvalidInput, TrainingFailed


def example(
    queries: int, listed: int, seed: int = 0, positives: float = 0.3
) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    similarity = 2 * torch.rand(queries, listed, dtype=torch.float64, generator=random) - 1
    return similarity, torch.rand(queries, listed, generator=random) < positives


def equations_3_to_6(
    similarity: list[float], relevant: list[bool], bins: int, low: float, high: float
) -> float:
    """One query's loss with plain loops."""
    if not any(relevant):
        return 0.0
    delta = (high - low) / (bins - 1)
    seen = found = ap = 0.0
    for b in range(bins):
        here_all = here_positive = 0.0
        for s, y in zip(similarity, relevant, strict=True):
            p = max(1 - abs(min(max(s, low), high) - (high - b * delta)) / delta, 0)
            here_all += p
            here_positive += p * y
        seen, found = seen + here_all, found + here_positive
        if seen > 0:
            ap += found / seen * here_positive / sum(relevant)
    return 1 - ap


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-0.5, 2.0)])
@pytest.mark.parametrize("bins", [2, 7, 20])
def test_it_is_equations_3_to_6(bins: int, low: float, high: float) -> None:
    similarity, relevant = example(6, 11)
    relevant[2] = False
    expected = [
        equations_3_to_6(s, y, bins, low, high)
        for s, y in zip(similarity.tolist(), relevant.tolist(), strict=True)
    ]
    found = binned_ap_loss(similarity, relevant, bins, low, high, reduction="none")
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-13)


@given(
    queries=st.integers(1, 5),
    listed=st.integers(1, 9),
    bins=st.integers(2, 30),
    low=st.sampled_from([-1.0, 0.0]),
    seed=st.integers(0, 2**16),
)
def test_the_closed_form_is_the_dense_form_in_value_and_gradient(
    queries: int, listed: int, bins: int, low: float, seed: int
) -> None:
    similarity, relevant = example(queries, listed, seed)
    similarity.requires_grad_()
    weights = torch.linspace(0.5, 2, queries, dtype=torch.float64)
    fast = binned_ap_loss(similarity, relevant, bins, low, reduction="none")
    dense = ap_losses(similarity, relevant, Bins(bins, low))
    torch.testing.assert_close(fast, dense, rtol=0, atol=1e-12)
    (fast_gradient,) = torch.autograd.grad((fast * weights).sum(), similarity)
    (dense_gradient,) = torch.autograd.grad((dense * weights).sum(), similarity)
    torch.testing.assert_close(fast_gradient, dense_gradient, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("shape", [(4, 9), (3, 1), (1, 12)])
def test_the_derivative_is_that_of_the_loss(shape: tuple[int, int], low: float, high: float) -> None:
    similarity, relevant = example(*shape, seed=3, positives=0.5)
    similarity.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: binned_ap_loss(s, relevant, 9, low, high, reduction="none"), similarity
    )
    assert torch.autograd.gradcheck(lambda s: binned_ap_loss(s, relevant, 9, low, high), similarity)


@given(listed=st.integers(2, 20), seed=st.integers(0, 2**16))
def test_with_one_item_per_centre_it_is_the_exact_average_precision(listed: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    ranks = random.permutation(listed)
    relevant = random.random(listed) < 0.4
    relevant[random.integers(listed)] = True
    similarity = 1 - 2 * ranks / (listed - 1)
    loss = binned_ap_loss(torch.tensor(similarity)[None], torch.tensor(relevant)[None], bins=listed)
    assert 1 - loss.item() == pytest.approx(average_precision_score(relevant, similarity), abs=1e-12)


def test_the_order_of_the_list_does_not_matter() -> None:
    similarity, relevant = example(3, 20)
    shuffled = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        binned_ap_loss(similarity[:, shuffled], relevant[:, shuffled]),
        binned_ap_loss(similarity, relevant),
        rtol=0,
        atol=1e-14,
    )


def test_a_row_without_positives_has_no_loss_and_no_gradient() -> None:
    similarity, relevant = example(3, 8)
    relevant[1] = False
    similarity.requires_grad_()
    losses = binned_ap_loss(similarity, relevant, reduction="none")
    losses.sum().backward()
    assert losses[1] == 0 and losses[0] > 0
    assert similarity.grad is not None
    assert (similarity.grad[1] == 0).all() and (similarity.grad[0] != 0).any()


def test_a_row_of_positives_has_no_loss_and_no_gradient() -> None:
    similarity, _ = example(2, 8)
    similarity.requires_grad_()
    loss = binned_ap_loss(similarity, torch.ones(2, 8, dtype=torch.bool))
    loss.backward()
    assert abs(loss.item()) < 1e-15
    assert similarity.grad is not None and similarity.grad.abs().max() < 1e-14


def test_an_empty_list_has_no_loss() -> None:
    assert binned_ap_loss(torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool)).item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_beyond_the_ends_a_similarity_counts_as_at_the_end_and_has_no_gradient(dtype: torch.dtype) -> None:
    relevant = torch.tensor([[True, False, True, False]])
    inside = torch.tensor([[1.0, 0.3, -0.2, -1.0]], dtype=dtype)
    beyond = torch.tensor([[1.0000001, 0.3, -0.2, -4.0]], dtype=dtype, requires_grad=True)
    loss = binned_ap_loss(beyond, relevant)
    loss.backward()
    torch.testing.assert_close(loss.detach(), binned_ap_loss(inside, relevant), rtol=0, atol=0)
    assert beyond.grad is not None
    assert (beyond.grad[0, [0, 3]] == 0).all() and beyond.grad[0, 2] != 0


def test_a_similarity_of_exactly_high_has_no_gradient() -> None:
    similarity = torch.tensor([[1.0, 0.97, 0.1]], requires_grad=True)
    binned_ap_loss(similarity, torch.tensor([[False, True, False]])).backward()
    assert similarity.grad is not None and similarity.grad[0, 0] == 0 and similarity.grad[0, 1] != 0


def test_raising_a_positive_lowers_the_loss_and_raising_a_negative_does_not() -> None:
    similarity, relevant = example(5, 30)
    similarity.requires_grad_()
    binned_ap_loss(similarity, relevant).backward()
    assert similarity.grad is not None
    assert (similarity.grad[~relevant] >= 0).all()
    assert similarity.grad[relevant].sum() < 0


def test_the_most_bins_are_still_exact() -> None:
    similarity, relevant = example(3, 40)
    similarity.requires_grad_()
    fast, dense = binned_ap_loss(similarity, relevant, 10_000), ap_losses(similarity, relevant, Bins(10_000))
    torch.testing.assert_close(fast, dense.mean(), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        *torch.autograd.grad(fast, similarity), *torch.autograd.grad(dense.mean(), similarity)
    )


def test_tiles_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    similarity, relevant = example(23, 17)
    similarity.requires_grad_()
    whole = binned_ap_loss(similarity, relevant)
    (whole_gradient,) = torch.autograd.grad(whole, similarity)
    monkeypatch.setattr(average_precision, "TILE_ELEMENTS", 40)
    tiled = binned_ap_loss(similarity, relevant)
    (tiled_gradient,) = torch.autograd.grad(tiled, similarity)
    assert torch.equal(whole, tiled) and torch.equal(whole_gradient, tiled_gradient)


def test_the_mean_is_that_of_the_rows() -> None:
    similarity, relevant = example(7, 9)
    rows = binned_ap_loss(similarity, relevant, reduction="none")
    assert rows.shape == (7,)
    torch.testing.assert_close(binned_ap_loss(similarity, relevant), rows.mean())


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("marks", [torch.bool, torch.uint8, torch.long, torch.float32])
def test_marks_may_be_zeros_and_ones_and_similarities_half_precision(
    half: torch.dtype, marks: torch.dtype
) -> None:
    similarity, relevant = example(4, 6)
    narrow = similarity.to(half).requires_grad_()
    wide = narrow.detach().float().requires_grad_()
    found, expected = binned_ap_loss(narrow, relevant.to(marks)), binned_ap_loss(wide, relevant)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    (gradient,) = torch.autograd.grad(found, narrow)
    (wide_gradient,) = torch.autograd.grad(expected, wide)
    assert torch.equal(gradient, wide_gradient.to(half))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rows_can_be_weighted_one_by_one_in_every_type(dtype: torch.dtype) -> None:
    similarity, relevant = example(5, 40)
    similarity = similarity.to(dtype).requires_grad_()
    rows = binned_ap_loss(similarity, relevant, reduction="none")
    (gradient,) = torch.autograd.grad((rows * torch.tensor([0, 1, 0, 2, 0])).sum(), similarity)
    assert rows.shape == (5,)
    assert [bool(row.any()) for row in gradient] == [False, True, False, True, False]


def test_infinite_similarities_count_as_at_the_ends() -> None:
    infinite = torch.tensor([[torch.inf, 0.3, -torch.inf, 0.2]], requires_grad=True)
    relevant = torch.tensor([[False, True, True, False]])
    loss = binned_ap_loss(infinite, relevant)
    assert torch.equal(loss, binned_ap_loss(infinite.detach().clamp(-1, 1), relevant))
    (gradient,) = torch.autograd.grad(loss, infinite)
    assert gradient.isfinite().all() and (gradient[0, [0, 2]] == 0).all()


def test_float32_agrees_with_float64_to_rounding() -> None:
    similarity, relevant = example(50, 400)
    narrow = similarity.float()
    wide_loss = binned_ap_loss(narrow.double(), relevant, reduction="none")
    narrow_loss = binned_ap_loss(narrow, relevant, reduction="none")
    assert narrow_loss.dtype == torch.float32
    torch.testing.assert_close(narrow_loss.double(), wide_loss, rtol=0, atol=2e-6)


def test_the_gradient_cannot_silently_be_differentiated_again() -> None:
    similarity, relevant = example(2, 5)
    similarity.requires_grad_()
    (gradient,) = torch.autograd.grad(binned_ap_loss(similarity, relevant), similarity, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        gradient.sum().backward()


def test_without_itself_in_the_list_the_diagonal_does_not_matter() -> None:
    similarity, relevant = example(6, 6)
    similarity.requires_grad_()
    bins = Bins(12)
    loss = square_ap_loss(similarity, relevant, bins, include_self=False)
    other = square_ap_loss(similarity + 0.5 * torch.eye(6), relevant ^ torch.eye(6).bool(), bins, False)
    assert torch.equal(loss, other)
    loss.backward()
    assert similarity.grad is not None and (similarity.grad.diagonal() == 0).all()
    assert not torch.equal(loss, square_ap_loss(similarity, relevant, bins, include_self=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 1}, "bins = 1"),
        ({"bins": 4.5}, r"bins = 4\.5"),
        ({"bins": 10_001}, "bins = 10001"),
        ({"low": 1.0}, "low must be below high"),
        ({"high": float("nan")}, "low must be below high"),
        ({"low": float("-inf")}, "both finite"),
        ({"reduction": "sum"}, "reduction = 'sum'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    similarity, relevant = example(2, 3)
    with pytest.raises(InvalidInput, match=message):
        binned_ap_loss(similarity, relevant, **settings)


@pytest.mark.parametrize(
    ("similarity", "relevant", "message"),
    [
        (torch.ones(3), torch.ones(3), "floating matrix"),
        (torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3), "floating matrix"),
        (torch.ones(0, 3), torch.ones(0, 3), "at least one query"),
        (torch.ones(2, 3), torch.ones(3, 2), "must agree"),
        (torch.ones(2, 3), torch.tensor([[1, -1, 1], [0, 0, 1]]), "marks other than 0 and 1"),
        (torch.ones(2, 3), torch.full((2, 3), 0.5), "marks other than 0 and 1"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    similarity: torch.Tensor, relevant: torch.Tensor, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        binned_ap_loss(similarity, relevant)


def test_a_nan_is_refused_and_its_row_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(average_precision, "TILE_ELEMENTS", 6)
    similarity, relevant = example(9, 3)
    similarity[7, 1] = float("nan")
    with pytest.raises(TrainingFailed, match="NaN in row 7"):
        binned_ap_loss(similarity, relevant)
