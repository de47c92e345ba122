"""Scales as text: read in order, and what is no scale refused."""

import pytest

from student_trainer.errors import InvalidInput
from student_trainer.evaluate.scales import parse_scales


@pytest.mark.parametrize("text", ["", "one", "1,,2", "1;2"])
def test_scales_that_are_not_numbers_are_refused(text):
    with pytest.raises(InvalidInput, match="not a list of numbers"):
        parse_scales(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1,5"])
def test_scales_that_make_no_sense_are_refused(text):
    with pytest.raises(InvalidInput, match="above 0 and at most 4"):
        parse_scales(text)


def test_scales_are_read_in_their_order():
    assert parse_scales("1, 0.7071,0.5") == (1.0, 0.7071, 0.5)
