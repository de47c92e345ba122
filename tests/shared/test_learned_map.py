"""The map that is learned afterwards is the ridge solution, and is judged on images that it has not seen."""

import numpy as np
import pytest

from shared.learned_map import held_back_cosine, learn_projection


def units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_map_is_the_ridge_solution_and_without_a_ridge_exact_where_it_can_be():
    random = np.random.default_rng(0)
    student = units(random.standard_normal((50, 6)))
    truth = np.linalg.qr(random.standard_normal((9, 6)))[0]  # keeps lengths, so the teacher's rows are units
    teacher = student @ truth.T
    np.testing.assert_allclose(learn_projection(student, teacher, ridge=0).projection, truth, atol=1e-10)
    noisy = units(teacher + random.standard_normal(teacher.shape))
    learned = learn_projection(student, noisy, ridge=0.3).projection
    # The gradient of the penalised error is zero at its least.
    weight = 0.3 * np.trace(student.T @ student) / 6
    gradient = (student @ learned.T - noisy).T @ student + weight * learned
    assert np.abs(gradient).max() < 1e-9


def test_descriptors_that_are_no_pairs_have_no_map():
    with pytest.raises(ValueError, match="3 student and 2 teacher descriptors are no pairs"):
        learn_projection(np.eye(3), np.eye(3)[:2])
    with pytest.raises(ValueError, match="0 student and 0 teacher"):
        learn_projection(np.empty((0, 3)), np.empty((0, 3)))


def test_the_map_is_judged_on_images_that_it_was_not_learned_from():
    """Fewer images than dimensions: any targets are learned by heart, and say nothing of others."""
    random = np.random.default_rng(1)
    rows = random.standard_normal((40, 80)).astype(np.float32)
    targets = units(random.standard_normal((40, 60)))
    by_heart = learn_projection(rows, targets).apply(rows)
    assert (by_heart * targets).sum(axis=1).mean() > 0.95
    held_back, cosine = held_back_cosine(rows, targets)
    assert held_back == 8
    assert abs(cosine) < 0.2
    judges = np.array([4, 9, 14, 19, 24, 29, 34, 39])
    others = np.setdiff1d(np.arange(40), judges)
    crossed = rows[judges] @ learn_projection(rows[others], targets[others]).projection.T
    crossed /= np.linalg.norm(crossed, axis=1, keepdims=True)
    assert cosine == pytest.approx((crossed * targets[judges]).sum(axis=1).mean(), abs=1e-5)


def test_the_lengths_of_the_teachers_rows_do_not_matter():
    """A service may round what it sells, so that rows are not quite of length 1."""
    random = np.random.default_rng(2)
    student, teacher = random.standard_normal((30, 5)), units(random.standard_normal((30, 7)))
    longer = teacher * random.uniform(0.5, 2, (30, 1))
    expected = learn_projection(student, teacher).projection
    np.testing.assert_allclose(learn_projection(student, longer).projection, expected, atol=1e-12)
    assert held_back_cosine(student, longer) == (6, pytest.approx(held_back_cosine(student, teacher)[1]))


def test_a_teachers_row_of_zeros_teaches_nothing():
    student, teacher = np.eye(3), np.diag([2.0, 1.0, 0.0])
    learned = learn_projection(student, teacher, ridge=0).projection
    np.testing.assert_allclose(learned, np.diag([1.0, 1.0, 0.0]), atol=1e-12)
