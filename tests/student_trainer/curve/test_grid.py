"""The sizes of a curve, and what is held back from its trainings."""

import pytest

from student_trainer.curve.grid import hold_back, sizes_of
from student_trainer.errors import InvalidInput

DIGESTS = [f"{i:064x}" for i in range(200)]


def test_a_fifth_is_held_back_whatever_the_order() -> None:
    learn, held = hold_back(DIGESTS)
    assert (len(learn), len(held)) == (160, 40)
    assert sorted([*learn, *held]) == list(range(200))
    again = hold_back(DIGESTS[::-1])[1]
    assert {DIGESTS[::-1][row] for row in again} == {DIGESTS[row] for row in held}
    assert len(hold_back([f"{i:064x}" for i in range(9_000)])[1]) == 1_000


def test_too_few_to_hold_any_back_are_refused() -> None:
    with pytest.raises(InvalidInput, match="97 descriptors are bought; without labels a curve needs 100 or"):
        hold_back(DIGESTS[:97])


def test_sizes_are_those_asked_for_or_halves_down_to_an_eighth() -> None:
    assert sizes_of(None, 4000) == (500, 1000, 2000, 4000)
    assert sizes_of(None, 30) == (15, 30)
    assert sizes_of("320, 40,80", 320) == (40, 80, 320)


@pytest.mark.parametrize("wish", ["", "a,b", "9,20", "20,201"])
def test_sizes_that_cannot_be_are_refused(wish: str) -> None:
    with pytest.raises(InvalidInput, match="--sizes"):
        sizes_of(wish, 200)
