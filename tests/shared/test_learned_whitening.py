"""A learned whitening is its formula, whatever the number of rows, and refuses what does not fit it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from shared import learned_whitening
from shared.learned_whitening import LearnedWhitening


def whitening(dim: int = 5, kept: int | None = None) -> LearnedWhitening:
    rng = np.random.default_rng(0)
    return LearnedWhitening(rng.normal(size=dim), rng.normal(size=(kept or dim, dim)))


def rows(n: int, dim: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(n, dim)).astype(np.float32)


@pytest.mark.parametrize("dims", [None, 1, 3, 5])
def test_rows_are_centred_projected_to_the_first_dimensions_and_normalised(dims: int | None) -> None:
    learned = whitening()
    applied = learned.apply(rows(7), dims)
    assert (applied.shape, applied.dtype) == ((7, dims or 5), np.float32)
    for row, got in zip(rows(7), applied, strict=True):
        projected = np.dot(learned.projection[: dims or 5], row - learned.mean)
        np.testing.assert_allclose(got, projected / np.linalg.norm(projected), rtol=1e-5)


def test_many_rows_are_whitened_in_parts_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = whitening().apply(rows(50))
    monkeypatch.setattr(learned_whitening, "_ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(whitening().apply(rows(50)), whole, atol=1e-7)


def test_a_row_at_the_mean_becomes_zeros_and_not_nan() -> None:
    learned = LearnedWhitening(np.array([0.5, 0.25]), np.eye(2))
    assert learned.apply(np.array([[0.5, 0.25]])).tolist() == [[0.0, 0.0]]


def test_no_rows_give_no_rows() -> None:
    assert whitening(kept=3).apply(rows(0)).shape == (0, 3)


@pytest.mark.parametrize("dims", [0, -1, 6])
def test_no_such_number_of_dimensions_is_refused(dims: int) -> None:
    with pytest.raises(ValueError, match=f"to 5 dimensions cannot give {dims}"):
        whitening().apply(rows(2), dims)


@pytest.mark.parametrize("shape", [(2, 4), (5,), (1, 1, 5)])
def test_rows_of_another_length_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="of 5-d descriptors does not fit rows"):
        whitening().apply(np.zeros(shape))


@pytest.mark.parametrize(
    ("mean", "projection", "reason"),
    [
        (np.zeros((3, 1)), np.eye(3), r"shapes \(3, 1\) and \(3, 3\)"),
        (np.zeros(2), np.eye(3), r"shapes \(2,\) and \(3, 3\)"),
        (np.zeros(3), np.zeros((0, 3)), r"shapes \(3,\) and \(0, 3\)"),
        (np.array([0.0, np.inf]), np.eye(2), "NaN or infinity"),
        (np.zeros(2), np.full((2, 2), np.nan), "NaN or infinity"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    mean: NDArray[np.float64], projection: NDArray[np.float64], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        LearnedWhitening(mean, projection)
