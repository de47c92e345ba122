"""The sizes of a curve."""

from student_trainer.curve.grid import sizes_of


def test_sizes_are_those_asked_for_or_halves_down_to_an_eighth() -> None:
    assert sizes_of(None, 4000) == (500, 1000, 2000, 4000)
    assert sizes_of(None, 30) == (15, 30)
    assert sizes_of("320, 40,80", 320) == (40, 80, 320)
