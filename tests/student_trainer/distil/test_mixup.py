"""Mixed descriptors, and the matrix that mixes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.distil.descriptors import BadDescriptors, similarities, unit_rows
from student_trainer.distil.mixup import MixingMatrix, mix

LAMS = [0.0, 0.25, 0.5, 1.0]


def units(images: int, dim: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return unit_rows(torch.randn(images, dim, dtype=torch.float64, generator=random), "test's")


def dense(mixing: MixingMatrix) -> torch.Tensor:
    """W written out."""
    size = len(mixing.pairs)
    return torch.zeros(size, size, dtype=mixing.weights.dtype).scatter_add_(1, mixing.pairs, mixing.weights)


def test_a_mixture_is_the_normalised_sum_of_equation_1() -> None:
    found = mix(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 0]), lam=0.6)
    length = math.sqrt(0.6**2 + 0.4**2)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.4], [0.4, 0.6]]) / length)


def test_lam_one_keeps_the_image_and_lam_zero_takes_the_partner() -> None:
    rows, partners = units(6, 4), torch.tensor([3, 3, 0, 5, 4, 1])
    torch.testing.assert_close(mix(rows, partners, 1.0), rows, rtol=0, atol=1e-15)
    torch.testing.assert_close(mix(rows, partners, 0.0), rows[partners], rtol=0, atol=1e-15)


@pytest.mark.parametrize("lam", LAMS)
def test_an_image_mixed_with_itself_stays_itself(lam: float) -> None:
    rows = units(5, 3)
    torch.testing.assert_close(mix(rows, torch.arange(5), lam), rows, rtol=0, atol=1e-15)


def test_mixing_is_differentiable() -> None:
    rows = units(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: mix(f, torch.tensor([1, 1, 3, 0]), 0.3), rows)


@pytest.mark.parametrize("how", ["descriptors", "similarities"])
def test_opposite_descriptors_mixed_half_and_half_are_refused_by_name(how: str) -> None:
    rows = units(4, 3)
    rows[2] = -rows[1]
    partners = torch.tensor([0, 0, 1, 3])
    with pytest.raises(BadDescriptors, match=r"row 2 of the student descriptors with row 1 at lam = 0\.5"):
        if how == "descriptors":
            mix(rows, partners, 0.5, "student")
        else:
            MixingMatrix.of(rows, similarities(rows), partners, 0.5, "student")


def test_opposite_descriptors_mixed_unevenly_have_a_direction() -> None:
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert mix(rows, torch.tensor([1, 0]), 0.75).tolist() == [[1.0, 0.0], [-1.0, 0.0]]


@given(
    images=st.integers(1, 9),
    dim=st.integers(2, 6),
    lam=st.one_of(st.sampled_from(LAMS), st.floats(0, 1)),
    seed=st.integers(0, 2**16),
)
def test_the_mixing_matrix_mixes_as_equation_1_does(images: int, dim: int, lam: float, seed: int) -> None:
    rows = units(images, dim, seed)
    partners = torch.randint(images, (images,), generator=torch.Generator().manual_seed(seed))
    mixing = MixingMatrix.of(rows, similarities(rows), partners, lam, "test's")
    torch.testing.assert_close(
        mixing.combine(rows, slice(0, images)), mix(rows, partners, lam), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_combine_and_spread_are_products_with_the_matrix_and_its_transpose(dtype: torch.dtype) -> None:
    rows = units(7, 4).to(dtype)
    partners = torch.tensor([2, 2, 2, 0, 4, 6, 6])
    mixing = MixingMatrix.of(rows, similarities(rows), partners, 0.3, "test's")
    matrix, tile = torch.randn(7, 7, dtype=dtype), slice(2, 6)
    torch.testing.assert_close(mixing.combine(matrix, tile), (dense(mixing) @ matrix)[tile])
    torch.testing.assert_close(mixing.combine_columns(matrix[tile]), matrix[tile] @ dense(mixing).T)

    into = torch.ones(7, 7, dtype=dtype)
    mixing.spread(matrix[tile], tile, into)
    torch.testing.assert_close(into, 1 + dense(mixing)[tile].T @ matrix[tile])
