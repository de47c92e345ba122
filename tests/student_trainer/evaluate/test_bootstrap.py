"""Bootstrap intervals: seeded, ordered, and as wide as statistics says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.evaluate.bootstrap import interval

scores = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)


@given(scores)
def test_an_interval_is_ordered_repeatable_and_inside_the_scores(values):
    low, high = interval(values, draws=50)
    assert values.min() - 1e-12 <= low <= high <= values.max() + 1e-12
    assert interval(values, draws=50) == (low, high)


def test_an_interval_is_as_wide_as_the_normal_approximation_says():
    values = np.random.default_rng(1).random(400)
    low, high = interval(values)
    half_width = 1.96 * values.std() / np.sqrt(len(values))
    assert (high - low) / 2 == pytest.approx(half_width, rel=0.1)
    assert low < values.mean() < high


def test_equal_scores_have_an_interval_without_width():
    assert interval(np.full(7, 0.25)) == (0.25, 0.25)


def test_differences_of_two_models_are_resampled_with_the_same_queries():
    before = np.random.default_rng(2).random(50)
    low, high = interval((before + 0.1) - before)
    assert low == pytest.approx(0.1)
    assert high == pytest.approx(0.1)


@pytest.mark.parametrize("values", [np.array([]), np.array([0.5, np.nan])])
def test_scores_with_gaps_are_refused(values):
    with pytest.raises(ValueError, match="needs finite scores"):
        interval(values)
