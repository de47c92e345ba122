"""All bodies together stay within a bound, and every request gives back what it held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher_service.admission.bytes_in_flight import BytesInFlight
from teacher_service.errors import Overloaded


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60) | st.none())))
def test_what_is_held_is_what_the_open_requests_took_and_never_above_the_bound(
    steps: list[tuple[int, int | None]],
) -> None:
    budget = BytesInFlight(100)
    shares, held = [budget.share() for _ in range(4)], [0] * 4
    for who, size in steps:
        if size is None:
            shares[who].give_back()
            held[who] = 0
        elif sum(held) + size <= 100:
            shares[who].take(size)
            held[who] += size
        else:
            with pytest.raises(Overloaded, match="100 bytes"):
                shares[who].take(size)
        assert budget.held == sum(held)


def test_giving_back_twice_gives_back_once() -> None:
    budget = BytesInFlight(10)
    share, other = budget.share(), budget.share()
    share.take(4)
    other.take(5)
    share.give_back()
    share.give_back()
    assert budget.held == 5
