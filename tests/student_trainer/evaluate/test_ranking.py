"""Rankings and measures, against scikit-learn and against slow implementations written here."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from student_trainer.evaluate import ranking
from student_trainer.evaluate.ranking import (
    ap_step,
    ap_trapezoid,
    precision_at_k,
    rank,
    rank_blocks,
    recall_at_k,
)

relevance = st.lists(st.booleans(), min_size=1, max_size=60).filter(any)
"""A ranking as people write it: is the image at each place relevant?"""


def ranks_of(relevant: list[bool]) -> list[int]:
    return [place for place, hit in enumerate(relevant) if hit]


def small_integers(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Rows whose dot products are exact in float32, with many ties."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)


def slow_rank(queries: np.ndarray, database: np.ndarray) -> list[list[int]]:
    """One list per query, by sorting Python pairs."""
    return [
        [
            index
            for _, index in sorted(
                (-sum(float(a) * float(b) for a, b in zip(query, row, strict=True)), index)
                for index, row in enumerate(database)
            )
        ]
        for query in queries
    ]


def slow_trapezoid(relevant: list[bool]) -> Fraction:
    """The area under the precision-recall points, joined by straight lines, in exact fractions."""
    total, area, hits, precision_before = sum(relevant), Fraction(0), 0, Fraction(1)
    for seen, hit in enumerate(relevant, 1):
        hits += hit
        precision = Fraction(hits, seen)
        recall_gained = Fraction(int(hit), total)
        area += recall_gained * (precision_before + precision) / 2
        precision_before = precision
    return area


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 12), st.integers(1, 4))
def test_a_ranking_is_best_first_and_ties_stand_by_database_index(seed, queries, database, dim):
    left, right = small_integers(seed, (queries, dim)), small_integers(seed + 1, (database, dim))
    assert rank(left, right).T.tolist() == slow_rank(left, right)


@pytest.mark.parametrize("copies", [7, 101, 1_003])
@pytest.mark.parametrize("dim", [64, 320, 2_048])
@pytest.mark.parametrize("queries", [1, 3, 40])
def test_bit_equal_descriptors_tie_wherever_they_stand(dim, copies, queries):
    random = np.random.default_rng(dim)
    rows = random.standard_normal((queries + 2, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order = rank(rows[2:], np.repeat(rows[:1], copies, axis=0))
    assert (order == np.arange(copies)[:, None]).all()
    mixed = rank(rows[2:], np.tile(rows[:2], (copies, 1))).T
    for query in mixed:
        assert (np.diff(query[query % 2 == 0]) > 0).all() and (np.diff(query[query % 2 == 1]) > 0).all()


def test_the_ranks_are_int64_database_by_query():
    order = rank(np.eye(3, 4, dtype=np.float32), np.eye(5, 4, dtype=np.float32))
    assert order.shape == (5, 3)
    assert order.dtype == np.int64
    assert order[0].tolist() == [0, 1, 2]


@given(st.integers(0, 10_000), st.integers(1, 9))
def test_the_size_of_a_block_changes_nothing(seed, rows_per_block):
    left, right = small_integers(seed, (9, 3)), small_integers(seed + 1, (11, 3))
    whole = rank(left, right)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK_BYTES", rows_per_block * 11 * ranking.BYTES_PER_PAIR)
        sizes = [len(block) for _, block in rank_blocks(left, right)]
        assert max(sizes) <= rows_per_block
        assert sum(sizes) == 9
        assert (rank(left, right) == whole).all()


def test_a_database_larger_than_a_block_is_ranked_one_query_at_a_time(monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 1)
    left, right = small_integers(0, (4, 3)), small_integers(1, (50, 3))
    assert [start for start, _ in rank_blocks(left, right)] == [0, 1, 2, 3]


def test_an_empty_database_ranks_nothing():
    assert rank(np.ones((2, 3), np.float32), np.empty((0, 3), np.float32)).shape == (0, 2)


def test_descriptors_of_two_dimensions_are_refused():
    with pytest.raises(ValueError, match="Queries have 3 dimensions, the database 4"):
        rank(np.ones((1, 3), np.float32), np.ones((1, 4), np.float32))


def test_one_descriptor_without_a_batch_axis_is_refused():
    with pytest.raises(ValueError, match=r"Query descriptors must be \[n, d\], got shape \(3,\)"):
        rank(np.ones(3, np.float32), np.ones((1, 3), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_descriptor_that_is_not_finite_is_refused_by_its_row(value):
    database = np.ones((4, 2), np.float32)
    database[2, 1] = value
    with pytest.raises(ValueError, match="Database descriptor 2 holds NaN or infinity"):
        rank(np.ones((1, 2), np.float32), database)


@given(relevance)
def test_step_ap_equals_scikit_learn(relevant):
    scores = -np.arange(len(relevant), dtype=float)
    expected = average_precision_score(relevant, scores)
    assert ap_step(ranks_of(relevant), sum(relevant)) == pytest.approx(expected, abs=1e-12)


@given(relevance)
def test_trapezoidal_ap_is_the_area_under_the_joined_points(relevant):
    assert ap_trapezoid(ranks_of(relevant), sum(relevant)) == pytest.approx(
        float(slow_trapezoid(relevant)), abs=1e-12
    )


@given(relevance)
def test_both_aps_lie_in_0_1_and_are_1_only_for_a_perfect_ranking(relevant):
    perfect = relevant == sorted(relevant, reverse=True)
    for measure in (ap_step, ap_trapezoid):
        value = measure(ranks_of(relevant), sum(relevant))
        assert 0 < value <= 1
        assert (value == pytest.approx(1, abs=1e-12)) == perfect


@given(relevance, st.integers(1, 20))
def test_a_positive_that_was_not_retrieved_adds_nothing(relevant, missing):
    found, total = ranks_of(relevant), sum(relevant)
    for measure in (ap_step, ap_trapezoid):
        assert measure(found, total + missing) == pytest.approx(
            measure(found, total) * total / (total + missing), abs=1e-12
        )


def test_the_two_aps_differ_as_their_definitions_say():
    # Relevant at places 1 and 3 (1-based). Step: (1/1 + 2/3) / 2. Trapezoid: (1 + 1)/4 + (1/2 + 2/3)/4.
    assert ap_step([0, 2], 2) == pytest.approx(5 / 6)
    assert ap_trapezoid([0, 2], 2) == pytest.approx(19 / 24)


@given(relevance)
def test_the_order_in_which_ranks_are_given_does_not_matter(relevant):
    ranks = ranks_of(relevant)
    assert ap_step(ranks[::-1], len(ranks)) == ap_step(ranks, len(ranks))
    assert ap_trapezoid(ranks[::-1], len(ranks)) == ap_trapezoid(ranks, len(ranks))


@given(relevance, st.integers(1, 70))
def test_precision_at_k_counts_hits_up_to_the_last_positive(relevant, k):
    last = max(ranks_of(relevant)) + 1
    shown = relevant[: min(last, k)]
    assert precision_at_k(ranks_of(relevant), k) == pytest.approx(sum(shown) / len(shown))


def test_precision_at_10_does_not_punish_a_query_with_few_positives():
    assert precision_at_k([0, 1], 10) == 1.0
    assert precision_at_k([0, 3], 10) == 0.5
    assert precision_at_k([20], 10) == 0.0


@given(relevance, st.integers(1, 70))
def test_recall_at_k_asks_whether_any_of_the_first_k_is_relevant(relevant, k):
    assert recall_at_k(ranks_of(relevant), k) == float(any(relevant[:k]))


def test_recall_without_positives_is_zero():
    assert recall_at_k([], 5) == 0.0


@pytest.mark.parametrize("measure", [ap_step, ap_trapezoid])
@pytest.mark.parametrize(
    ("ranks", "positives", "message"),
    [
        ([], 0, "at least one positive"),
        ([0, 1], 1, "2 ranks of 1 positives"),
        ([0, 0], 2, "distinct"),
        ([-1], 1, "not negative"),
    ],
)
def test_impossible_ranks_are_refused(measure, ranks, positives, message):
    with pytest.raises(ValueError, match=message):
        measure(ranks, positives)


@pytest.mark.parametrize(("ranks", "k"), [([], 5), ([0], 0)])
def test_precision_needs_a_positive_and_a_k(ranks, k):
    with pytest.raises(ValueError, match="needs k of at least 1 and a positive"):
        precision_at_k(ranks, k)


def test_recall_needs_a_k():
    with pytest.raises(ValueError, match="needs k of at least 1, got 0"):
        recall_at_k([0], 0)
