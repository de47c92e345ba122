"""The paper's numbers of images, and ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.errors import InvalidInput
from student_trainer.reproduce.sizes import sizes_here
from student_trainer.trials.sizes import SMALLEST


def test_the_paper_s_numbers_stay_where_enough_were_bought() -> None:
    assert sizes_here([4000, 2000, 8000], 9000) == {2000: 2000, 4000: 4000, 8000: 8000}
    assert sizes_here([], 100) == {}


def test_with_fewer_images_all_shrink_alike_and_the_largest_takes_everything() -> None:
    assert sizes_here([2000, 4000, 8000], 2093) == {2000: 523, 4000: 1046, 8000: 2093}


@given(st.sets(st.integers(2, 9000), min_size=1, max_size=5), st.integers(2, 9000))
def test_no_size_is_more_than_there_is_and_their_order_stays(declared: set[int], available: int) -> None:
    found = sizes_here(declared, available)
    assert list(found) == sorted(declared)
    assert list(found.values()) == sorted(found.values())
    assert all(min(SMALLEST, available, number) <= size <= available for number, size in found.items())


def test_sizes_may_be_named() -> None:
    assert sizes_here([8000, 2000, 4000], 2093, "2000, 500,1000") == {2000: 500, 4000: 1000, 8000: 2000}


def test_as_many_sizes_must_be_named_as_the_table_has() -> None:
    with pytest.raises(InvalidInput, match=r"has 2 numbers of images \(2,000, 4,000\), so give as many"):
        sizes_here([2000, 4000], 2093, "500")
