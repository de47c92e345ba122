"""What is held back from the trainings of a curve."""

import pytest

from student_trainer.curve.held_back import hold_back
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
