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
    budget = BytesInFlight(100, most_of_one_key=100)
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
    budget = BytesInFlight(10, most_of_one_key=10)
    share, other = budget.share(), budget.share()
    share.take(4)
    other.take(5)
    share.give_back()
    share.give_back()
    assert budget.held == 5


def test_one_key_leaves_room_for_the_others() -> None:
    budget = BytesInFlight(100, most_of_one_key=50)
    first, second = budget.share().of("k"), budget.share().of("k")
    first.take(30)
    with pytest.raises(Overloaded, match="this key hold 30 of the 50 bytes"):
        second.take(21)
    second.take(20)
    other = budget.share().of("l")
    other.take(50)
    with pytest.raises(Overloaded, match="The service is full"):
        budget.share().of("m").take(1)
    first.give_back()
    second.take(30)
    for share in (second, other):
        share.give_back()
    assert budget.held == 0


def test_only_keys_with_requests_in_flight_are_remembered() -> None:
    budget = BytesInFlight(100, most_of_one_key=10)
    for key in range(50):
        share = budget.share().of(f"{key}")
        share.take(5)
        with pytest.raises(Overloaded):
            share.take(6)
        share.give_back()
        share.give_back()
    assert not budget._held_by
