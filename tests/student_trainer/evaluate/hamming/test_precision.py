"""Average precision with ties against every order of the tied images, written out one by one."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from student_trainer.evaluate.hamming.precision import (
    _reciprocals,
    tie_aware_ap,
    tie_aware_ap_at_k,
)

Tie = tuple[int, int]
"""Images at one distance, and how many of them are relevant."""

TIES = st.lists(
    st.integers(0, 3).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=1, max_size=4
)


def orders(ties: Sequence[Tie]) -> Iterator[list[bool]]:
    """Every ranking, as the relevance of its images: all permutations of each tie, the nearer ties first."""
    groups = [list(permutations([place < relevant for place in range(images)])) for images, relevant in ties]
    for chosen in product(*groups):
        yield [is_relevant for group in chosen for is_relevant in group]


def ap_of_one_ranking(relevance: Sequence[bool], k: int | None = None) -> Fraction:
    """The mean of the precisions at the relevant images (among the first k)."""
    precisions, found = [], 0
    for rank, is_relevant in enumerate(relevance[:k], start=1):
        if is_relevant:
            found += 1
            precisions.append(Fraction(found, rank))
    return sum(precisions, Fraction(0)) / max(len(precisions), 1)


def brute_force(ties: Sequence[Tie], k: int | None = None) -> float:
    scores = [ap_of_one_ranking(relevance, k) for relevance in orders(ties)]
    return float(sum(scores, Fraction(0)) / len(scores))


def counts(ties: Sequence[Tie]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([[n for n, _ in ties]]), np.array([[r for _, r in ties]])


@settings(max_examples=40)
@given(TIES)
@example([(5, 2), (1, 1)])
def test_it_is_the_mean_over_all_orders(ties: list[Tie]) -> None:
    found = tie_aware_ap(*counts(ties))
    if any(relevant for _, relevant in ties):
        assert found[0] == pytest.approx(brute_force(ties), rel=1e-12)
    else:
        assert np.isnan(found[0])


@settings(max_examples=60)
@given(TIES, st.integers(1, 13))
@example([(1, 0), (1, 1)], 1)
@example([(1, 1), (6, 3)], 4)
def test_at_k_it_is_the_mean_over_all_orders_of_what_stands_among_the_first_k(
    ties: list[Tie], k: int
) -> None:
    found = tie_aware_ap_at_k(*counts(ties), k)
    if any(relevant for _, relevant in ties):
        assert found[0] == pytest.approx(brute_force(ties, k), rel=1e-12, abs=1e-15)
    else:
        assert np.isnan(found[0])


def test_without_ties_it_is_the_average_precision_of_the_one_ranking() -> None:
    """The last ranked image counts."""
    images, relevant = np.ones((1, 6), int), np.array([[1, 0, 0, 1, 0, 1]])
    assert tie_aware_ap(images, relevant)[0] == pytest.approx((1 + 2 / 4 + 3 / 6) / 3)
    assert tie_aware_ap_at_k(images, relevant, 5)[0] == pytest.approx((1 + 2 / 4) / 2)
    assert tie_aware_ap_at_k(images, relevant, 6)[0] == tie_aware_ap(images, relevant)[0]


def test_queries_do_not_meet() -> None:
    images, relevant = np.array([[2, 3], [0, 4], [1, 1]]), np.array([[1, 2], [0, 4], [0, 0]])
    together = tie_aware_ap_at_k(images, relevant, 3)
    alone = [tie_aware_ap_at_k(images[q : q + 1], relevant[q : q + 1], 3)[0] for q in range(3)]
    np.testing.assert_array_equal(together, alone)
    assert np.isnan(together[2]) and together[1] == 1.0


def test_one_tie_of_all_images_has_about_the_share_of_relevant_ones() -> None:
    found = tie_aware_ap(np.array([[100_000]]), np.array([[10_000]]))
    assert found[0] == pytest.approx(0.1, rel=2e-3)


def test_long_rankings_are_summed_as_accurately_as_short_ones() -> None:
    """Against a sum over all ranks in extended precision."""
    random = np.random.default_rng(3)
    images = random.integers(0, 20_000, (2, 30))
    relevant = random.binomial(images, 0.01)
    total = np.zeros(2)
    for query in range(2):
        before = found = 0
        for n, r in zip(images[query].tolist(), relevant[query].tolist(), strict=True):
            j = np.arange(1, n + 1, dtype=np.longdouble)
            rise = (j - 1) * (r - 1) / max(n - 1, 1)
            total[query] += float((np.longdouble(r) / max(n, 1) * (found + 1 + rise) / (before + j)).sum())
            before, found = before + n, found + r
    np.testing.assert_allclose(tie_aware_ap(images, relevant), total / relevant.sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 1), (3, 64), (60, 70), (64, 65), (0, 500), (10**6, 10**6 + 2), (5, 10**5)]
)
def test_differences_of_harmonic_numbers_keep_their_digits(start: int, stop: int) -> None:
    exact = (
        float(sum((Fraction(1, m) for m in range(start + 1, stop + 1)), Fraction(0)))
        if stop < 10**5
        else (float((1 / np.arange(start + 1, stop + 1, dtype=np.longdouble)).sum()))
    )
    assert _reciprocals(np.array(start), np.array(stop)) == pytest.approx(exact, rel=1e-13)


def test_a_large_tie_is_cut_in_time_and_close_to_its_share() -> None:
    """A thousand of half a million tied images: too many orders to count, so by simulation."""
    images, relevant, k = np.array([[500_000]]), np.array([[50_000]]), 1000
    random = np.random.default_rng(0)
    scores = []
    for _ in range(300):
        hits = random.random(k) < 0.1
        scores.append(float((np.cumsum(hits) / np.arange(1, k + 1))[hits].mean()))
    assert tie_aware_ap_at_k(images, relevant, k)[0] == pytest.approx(np.mean(scores), abs=4e-3)


@pytest.mark.parametrize(
    ("images", "relevant", "message"),
    [
        (np.ones((1, 2), int), np.ones((1, 3), int), "Counts are"),
        (np.ones((1, 2), int), np.full((1, 2), 2), "more relevant images"),
        (np.ones((1, 2), int), np.full((1, 2), -1), "fewer than none"),
    ],
)
def test_impossible_counts_are_refused(images: np.ndarray, relevant: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tie_aware_ap(images, relevant)


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="k of at least 1, got 0"):
        tie_aware_ap_at_k(np.ones((1, 2), int), np.ones((1, 2), int), 0)
