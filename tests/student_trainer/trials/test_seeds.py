"""What a few seeds say together."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from student_trainer.trials.seeds import interval


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=31))
def test_the_interval_is_student_s_around_the_mean(values: list[float]) -> None:
    found = interval(values)
    assert found is not None
    low, high = found
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    reach = t.ppf(0.975, len(values) - 1) * spread / math.sqrt(len(values))
    assert (low + high) / 2 == pytest.approx(mean, rel=1e-9, abs=1e-12)
    assert (high - low) / 2 == pytest.approx(reach, rel=1e-3, abs=1e-12)  # the table has three decimals


def test_one_value_has_no_interval() -> None:
    assert interval([0.5]) is None
