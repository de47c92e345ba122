"""Whether claims held, on made numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from student_trainer.reproduce.claims import Difference, difference

Seeds = dict[int | None, float]


def seeds(*values: float) -> Seeds:
    return dict(enumerate(values))


@pytest.mark.parametrize(
    ("better", "than", "answer"),
    [
        ((0.52, 0.53, 0.526), (0.50, 0.51, 0.505), "held"),
        ((0.50, 0.51, 0.505), (0.52, 0.53, 0.526), "not held"),  # surely worse
        ((0.4, 0.3, 0.2), (0.2, 0.1, 0.0), "cannot tell"),  # the same gain with every seed: no spread
        ((0.2, 0.1, 0.0), (0.4, 0.3, 0.2), "cannot tell"),
        ((0.501, 0.500, 0.5005), (0.500, 0.501, 0.5005), "not held"),  # surely less than half a point
        ((0.52, 0.49, 0.51), (0.50, 0.51, 0.50), "cannot tell"),
        ((0.60,), (0.50,), "cannot tell"),  # one seed shows no spread
    ],
)
def test_a_gain_has_held_or_not_or_nobody_can_tell(
    better: tuple[float, ...], than: tuple[float, ...], answer: str
) -> None:
    found = difference(seeds(*better), seeds(*than))
    assert found is not None
    assert found.answer() == answer


@pytest.mark.parametrize(
    ("interval", "at_least", "answer"),
    [
        ((-0.019, 0.004), -0.02, "held"),  # at most two points below
        ((-0.030, -0.021), -0.02, "not held"),
        ((-0.030, -0.019), -0.02, "cannot tell"),
        ((0.011, 0.012), 0.01, "held"),
        ((0.001, 0.009), 0.01, "not held"),
    ],
)
def test_a_claim_that_states_how_much_is_held_against_that(
    interval: tuple[float, float], at_least: float, answer: str
) -> None:
    assert Difference(sum(interval) / 2, interval, 3).answer(at_least) == answer


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8))
def test_the_interval_is_that_of_a_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    better, than = zip(*pairs, strict=True)
    found = difference(seeds(*better), seeds(*than))
    assert found is not None and found.interval is not None
    gains = np.subtract(better, than)
    assert found.mean == pytest.approx(gains.mean(), abs=1e-12)
    if np.ptp(gains) > 1e-9:
        low, high = ttest_1samp(gains, 0).confidence_interval(0.95)
        assert found.interval == (
            pytest.approx(low, abs=2e-3 * (high - low)),
            pytest.approx(high, abs=2e-3 * (high - low)),
        )


def test_only_seeds_that_both_rows_have_are_compared() -> None:
    found = difference({0: 0.5, 1: 0.7, 2: 0.6}, {1: 0.6, 2: 0.5, 3: 0.1})
    assert found is not None
    assert (found.seeds, found.mean) == (2, pytest.approx(0.1))
    assert difference({0: 0.5}, {1: 0.6}) is None
    assert difference({}, {None: 0.6}) is None


def test_a_network_without_seeds_stands_beside_every_seed() -> None:
    found = difference({None: 0.6}, seeds(0.5, 0.52, 0.51))
    assert found is not None
    assert (found.seeds, found.mean, found.answer()) == (3, pytest.approx(0.09), "held")
    both = difference({None: 0.6}, {None: 0.5})
    assert both is not None
    assert (both.mean, both.interval) == (pytest.approx(0.1), None)


def test_a_gain_may_be_compared_with_another_gain() -> None:
    found = difference(
        seeds(0.55, 0.56, 0.571), seeds(0.50, 0.51, 0.52), (seeds(0.61, 0.62, 0.63), seeds(0.60, 0.61, 0.62))
    )
    assert found is not None
    assert (found.mean, found.answer()) == (pytest.approx(0.04 + 0.001 / 3), "held")


@given(st.lists(st.integers(0, 400), min_size=2, max_size=6), st.integers(1, 500))
def test_rounding_decides_no_claim(thousandths: list[int], gain: int) -> None:
    than = [value / 1000 for value in thousandths]
    found = difference(seeds(*((value + gain) / 1000 for value in thousandths)), seeds(*than))
    assert found is not None and found.interval is not None
    assert found.interval[0] == found.interval[1]
    assert (found.answer(), found.answer(-0.02)) == ("cannot tell", "cannot tell")
    assert found.doubt == "all seeds differ by exactly as much, which shows no spread"
