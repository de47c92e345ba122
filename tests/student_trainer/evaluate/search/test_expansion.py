"""Query expansion and database augmentation against loops written here."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from student_trainer.errors import InvalidInput
from student_trainer.evaluate.search.expansion import Expansion, augment_database, expand_queries


def unit_rows(seed: int, n: int, dim: int = 5) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def mixed(own: np.ndarray, others: list[np.ndarray], alpha: float) -> np.ndarray:
    total = own.astype(np.float64)
    for other in others:
        similarity = float(own @ other)
        if similarity > 0:
            total = total + (similarity**alpha) * other
    return total / np.linalg.norm(total)


def nearest(own: np.ndarray, database: np.ndarray, n: int, without: int | None = None) -> list[np.ndarray]:
    order = sorted(range(len(database)), key=lambda i: (-float(np.float32(database[i] @ own)), i))
    return [database[i] for i in order if i != without][:n]


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 9), st.sampled_from([0.0, 1.0, 3.0]))
def test_an_expanded_query_is_the_weighted_sum_of_itself_and_its_best(seed, n, alpha):
    queries, database = unit_rows(seed, 3), unit_rows(seed + 1, 7)
    expanded = expand_queries(queries, database, Expansion(n, alpha))
    for own, found in zip(queries, expanded, strict=True):
        np.testing.assert_allclose(found, mixed(own, nearest(own, database, n), alpha), atol=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 9), st.sampled_from([0.0, 1.0, 3.0]))
def test_an_augmented_image_is_the_weighted_sum_of_itself_and_its_nearest_others(seed, n, alpha):
    database = unit_rows(seed, 7)
    augmented = augment_database(database, Expansion(n, alpha))
    for index, own in enumerate(database):
        expected = mixed(own, nearest(own, database, n, without=index), alpha)
        np.testing.assert_allclose(augmented[index], expected, atol=1e-5)


def test_what_is_not_similar_weighs_nothing_for_an_alpha_of_0_either():
    database = np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8]], dtype=np.float32)
    expected = np.array([[1.6, 0.8]]) / np.hypot(1.6, 0.8)
    np.testing.assert_allclose(
        expand_queries(database[:1], database[1:], Expansion(3, 0)), expected, atol=1e-6
    )
    np.testing.assert_allclose(augment_database(database, Expansion(3, 0))[:1], expected, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_exact_duplicates_are_neighbours_like_any_other(n):
    copied, different = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)
    database = np.stack([copied, copied, different, copied])
    augmented = augment_database(database, Expansion(n, 1.0))
    for index, own in enumerate(database):
        expected = mixed(own, nearest(own, database, n, without=index), 1.0)
        np.testing.assert_allclose(augmented[index], expected, atol=1e-6)


def test_an_image_that_is_not_among_its_own_best_is_mixed_with_no_more_than_asked():
    """Both others are as similar to the last as it is to itself, in float32, and have a lower index."""
    database = np.array([[1, 1e-4], [1, -1e-4], [1, 0]], dtype=np.float32)
    augmented = augment_database(database, Expansion(1, 1.0))
    np.testing.assert_allclose(augmented[2], [1, 0.5e-4], rtol=0, atol=1e-7)


def test_what_is_expanded_is_of_unit_length():
    database = unit_rows(0, 30)
    for rows in (
        augment_database(database, Expansion(5, 3)),
        expand_queries(database[:4], database, Expansion(5, 3)),
    ):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        assert rows.dtype == np.float32


def test_a_database_is_not_changed_in_place():
    database = unit_rows(0, 6)
    before = database.copy()
    augment_database(database, Expansion(2, 1))
    expand_queries(database[:2], database, Expansion(2, 1))
    assert (database == before).all()


def test_no_queries_stay_no_queries():
    assert expand_queries(unit_rows(0, 0), unit_rows(1, 4), Expansion(2, 1)).shape == (0, 5)


def test_an_expansion_is_read_from_the_command_line():
    assert Expansion.parse("10:3", "--alpha-qe") == Expansion(10, 3.0)
    assert str(Expansion.parse("1000:0.5", "--dba")) == "1,000 images, alpha 0.5"


@pytest.mark.parametrize("text", ["", "10", "10:", ":3", "a:3", "10:b", "0:3", "10:-1", "10:nan", "1.5:3"])
def test_other_words_for_an_expansion_are_refused_with_an_example(text):
    with pytest.raises(InvalidInput, match=r"--dba .* is not N:ALPHA, such as 10:3"):
        Expansion.parse(text, "--dba")
