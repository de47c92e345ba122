"""Unit rows, their similarities, and full precision."""

import pytest
import torch

from student_trainer.distil.descriptors import (
    BadDescriptors,
    full_precision,
    similarities,
    unit_rows,
    without_diagonal,
)
from student_trainer.errors import InvalidInput, TrainerError


def test_rows_get_length_one_and_keep_their_direction() -> None:
    rows = torch.randn(5, 3, dtype=torch.float64) * 7
    units = unit_rows(rows, "student")
    torch.testing.assert_close(torch.linalg.vector_norm(units, dim=1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(units * torch.linalg.vector_norm(rows, dim=1, keepdim=True), rows)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_to_float32(half: torch.dtype) -> None:
    assert unit_rows(torch.ones(2, 4, dtype=half), "student").dtype == torch.float32


@pytest.mark.parametrize("bad", [0.0, 1e-20, float("nan"), float("inf")])
def test_a_row_without_direction_is_named(bad: float) -> None:
    rows = torch.ones(4, 3)
    rows[2] = bad
    with pytest.raises(
        BadDescriptors, match=r"teacher's descriptor in row 2 \(counted from 0\) of 4"
    ) as caught:
        unit_rows(rows, "teacher")
    assert isinstance(caught.value, TrainerError) and isinstance(caught.value, ValueError)


def test_one_nan_among_good_numbers_is_found() -> None:
    rows = torch.ones(3, 4)
    rows[1, 2] = float("nan")
    with pytest.raises(BadDescriptors, match="row 1"):
        unit_rows(rows, "student")


@pytest.mark.parametrize(
    "rows", [torch.ones(3), torch.ones(2, 2, dtype=torch.long), torch.ones(0, 3), torch.ones(3, 0)]
)
def test_what_is_no_matrix_of_descriptors_is_refused(rows: torch.Tensor) -> None:
    with pytest.raises(InvalidInput, match="floating matrix"):
        unit_rows(rows, "student")


def test_the_diagonal_is_exactly_one_and_carries_no_gradient() -> None:
    units = unit_rows(torch.randn(6, 5), "student").requires_grad_()
    found = similarities(units)
    assert (found.diagonal() == 1.0).all()
    found.diagonal().sum().backward()
    assert units.grad is not None and (units.grad == 0).all()


def test_similarities_have_the_gradient_of_a_product_with_a_constant_diagonal() -> None:
    units = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(similarities, units)


def test_similarities_stay_in_float32_whatever_the_caller_has_set() -> None:
    units = unit_rows(torch.randn(64, 256), "student").requires_grad_()
    exact = similarities(units)
    (exact_gradient,) = torch.autograd.grad(exact.square().sum(), units)
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loose = similarities(units)
            (loose_gradient,) = torch.autograd.grad(loose.square().sum(), units)
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before
    assert loose.dtype == torch.float32
    assert torch.equal(loose, exact) and torch.equal(loose_gradient, exact_gradient)


def test_full_precision_puts_back_what_it_found_even_after_an_error() -> None:
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"
        with pytest.raises(KeyError), full_precision(torch.device("cpu")):
            assert matmul.fp32_precision == "ieee"
            raise KeyError
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


def test_without_the_diagonal_each_row_keeps_the_others_in_order() -> None:
    square = torch.arange(9).view(3, 3)
    assert without_diagonal(square).tolist() == [[1, 2], [3, 5], [6, 7]]
    assert without_diagonal(torch.ones(1, 1)).shape == (1, 0)
