"""What a few seeds say together."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from student_trainer.trials.seeds import interval


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=31), st.floats(-0.5, 0.5))
def test_the_interval_is_student_s_around_the_mean(values: list[float], shift: float) -> None:
    low, high = interval(values) or (0.0, 0.0)
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    reach = t.ppf(0.975, len(values) - 1) * spread / math.sqrt(len(values))
    assert (low, high) == (pytest.approx(mean - reach, abs=1e-3), pytest.approx(mean + reach, abs=1e-3))
