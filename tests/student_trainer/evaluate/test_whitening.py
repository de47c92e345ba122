"""Whitenings against their definitions in float64, and what they are for."""

import numpy as np
import pytest

from student_trainer.evaluate import whitening
from student_trainer.evaluate.whitening import ATTENUATED, learn_from_pairs, learn_pca


def descriptors(seed: int, n: int, dim: int) -> np.ndarray:
    """Unit rows that vary in every direction, in some much more."""
    random = np.random.default_rng(seed)
    rows = (
        random.standard_normal((n, dim))
        @ np.diag(2.0 ** -np.arange(dim))
        @ random.standard_normal((dim, dim))
    )
    rows += random.standard_normal(dim)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def by_definition(rows: np.ndarray, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and P by the singular values of the centred rows: another road than the covariance."""
    wide = rows.astype(np.float64)
    mean = wide.mean(axis=0)
    _, singular, directions = np.linalg.svd(wide - mean, full_matrices=False)
    eigenvalues = singular**2 / len(rows)
    return mean, directions * (eigenvalues**-power)[:, None]


@pytest.mark.parametrize("power", [0.5, ATTENUATED, 0.0])
def test_pca_whitening_is_its_definition_up_to_the_signs_of_components(power):
    rows = descriptors(0, 300, 6)
    mean, projection = by_definition(rows, power)
    learned = learn_pca(rows, power=power)
    np.testing.assert_allclose(learned.mean, mean, atol=1e-12)
    signs = np.sign((learned.projection * projection).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(learned.projection, signs * projection, rtol=1e-7)


def test_square_rooted_pca_gives_all_components_variance_one():
    rows = descriptors(1, 400, 5)
    learned = learn_pca(rows)
    white = (rows - learned.mean) @ learned.projection.T
    np.testing.assert_allclose(white.T @ white / len(rows), np.eye(5), atol=1e-6)


@pytest.mark.parametrize("n", [8, 9, 15, 16, 17])
def test_rows_are_taken_block_by_block_and_none_is_left_out(n, monkeypatch):
    """P of square-rooted PCA is a root of the inverse covariance: P^T P C = 1."""
    monkeypatch.setattr(whitening, "_BLOCK_ROWS", 8)
    rows = descriptors(4, n, 3)
    learned = learn_pca(rows)
    covariance = np.cov(rows.T.astype(np.float64), bias=True)
    np.testing.assert_allclose(learned.projection.T @ learned.projection @ covariance, np.eye(3), atol=1e-9)
    queries, positives = np.arange(0, n - 1), np.arange(1, n)
    learned = learn_from_pairs(rows, queries, positives)
    white = (rows.astype(np.float64) - learned.mean) @ learned.projection.T
    moment = white.T @ white
    np.testing.assert_allclose(moment, np.diag(np.diag(moment)), atol=1e-9 * moment.max())


def test_the_first_dimensions_are_kept_and_rows_end_as_unit_rows():
    rows = descriptors(2, 200, 6)
    whole, reduced = learn_pca(rows), learn_pca(rows, dims=3)
    np.testing.assert_array_equal(reduced.projection, whole.projection[:3])
    applied = reduced.apply(rows)
    expected = (rows.astype(np.float64) - whole.mean) @ whole.projection[:3].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(applied, expected, atol=2e-6)
    np.testing.assert_array_equal(applied, whole.apply(rows, 3))


def test_fewer_images_than_dimensions_keep_what_they_vary_in():
    rows = descriptors(3, 4, 8)
    assert learn_pca(rows).projection.shape == (3, 8)
    with pytest.raises(
        ValueError, match=r"4 descriptors vary in 3 dimensions, so .* cannot keep 4: .* more images"
    ):
        learn_pca(rows, dims=4)
    with pytest.raises(ValueError, match="cannot keep 0"):
        learn_pca(rows, dims=0)


def test_equal_descriptors_have_nothing_to_whiten():
    with pytest.raises(ValueError, match="vary in 0 dimensions"):
        learn_pca(np.ones((5, 3), np.float32))


@pytest.mark.parametrize("rows", [np.ones((1, 3)), np.ones(3), np.array([[1.0, np.nan], [0, 1]])])
def test_what_is_no_set_of_descriptors_is_refused(rows):
    with pytest.raises(ValueError, match="at least 2 finite descriptors"):
        learn_pca(rows)


@pytest.mark.parametrize("power", [-0.1, 1.1, np.nan])
def test_a_senseless_power_is_refused(power):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        learn_pca(descriptors(0, 9, 2), power=power)


def pairs(seed: int, places: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two views of each place, which differ most where places do not."""
    random = np.random.default_rng(seed)
    scene = random.standard_normal((places, dim)) * np.linspace(2, 0.2, dim)
    views = [scene + random.standard_normal((places, dim)) * np.linspace(0.2, 1.5, dim) for _ in range(2)]
    rows = np.concatenate(views)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.arange(places), np.arange(places) + places


def test_learned_whitening_makes_differences_white_and_then_the_rest_uncorrelated():
    rows, queries, positives = pairs(0, 500, 6)
    learned = learn_from_pairs(rows, queries, positives)
    wide = rows.astype(np.float64)
    np.testing.assert_allclose(learned.mean, wide[queries].mean(axis=0), atol=1e-12)
    differences = (wide[queries] - wide[positives]) @ learned.projection.T
    np.testing.assert_allclose(differences.T @ differences / len(queries), np.eye(6), atol=1e-9)
    centred = (wide - learned.mean) @ learned.projection.T
    moment = centred.T @ centred
    off_diagonal = moment - np.diag(np.diag(moment))
    assert np.abs(off_diagonal).max() < 1e-9 * moment.max()
    assert (np.diff(np.diag(moment)) <= 0).all()


def test_learned_whitening_is_the_published_recipe_written_out():
    rows, queries, positives = pairs(1, 300, 4)
    learned = learn_from_pairs(rows, queries, positives)
    columns = rows.astype(np.float64).T
    mean = columns[:, queries].mean(axis=1, keepdims=True)
    differences = columns[:, queries] - columns[:, positives]
    step = np.linalg.inv(np.linalg.cholesky(differences @ differences.T / len(queries)))
    moved = step @ (columns - mean)
    values, vectors = np.linalg.eig(moved @ moved.T)
    projection = vectors[:, np.argsort(values)[::-1]].T @ step
    signs = np.sign((learned.projection * projection).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(learned.projection, signs * projection, rtol=1e-6, atol=1e-9)


def test_whitening_from_pairs_brings_matching_images_together():
    rows, queries, positives = pairs(2, 800, 8)
    learned = learn_from_pairs(rows[:-400], queries[:400], positives[:400])
    before, after = rows, learned.apply(rows)

    def hits(found: np.ndarray) -> int:
        return int((np.argmax(found[600:800] @ found[1400:].T, axis=1) == np.arange(200)).sum())

    assert hits(after) > 1.3 * hits(before)


def test_too_few_pairs_are_refused_with_how_many_it_takes():
    rows, queries, positives = pairs(0, 4, 6)
    with pytest.raises(
        ValueError, match=r"4 pairs do not differ in all 6 dimensions: .* at least 6 different"
    ):
        learn_from_pairs(rows, queries, positives)


def test_pairs_that_are_no_pairs_are_refused():
    rows, queries, positives = pairs(0, 9, 2)
    with pytest.raises(ValueError, match="two lists of equal length"):
        learn_from_pairs(rows, queries, positives[:-1])
    with pytest.raises(ValueError, match="two lists of equal length"):
        learn_from_pairs(rows, queries[:0], positives[:0])
    rows[3, 1] = np.inf
    with pytest.raises(ValueError, match="finite descriptors"):
        learn_from_pairs(rows, queries, positives)
