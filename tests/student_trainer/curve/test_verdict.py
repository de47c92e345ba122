"""The verdict: sure gains, sure losses, and everything else is "cannot tell"."""

import math

import pytest

from student_trainer.curve.verdict import judge


def seeds(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def test_a_gain_that_every_seed_shows_looks_worth_buying() -> None:
    found = judge({1000: seeds(0.50, 0.51, 0.49), 2000: seeds(0.54, 0.55, 0.53)}, "mAP (step)")
    assert found.answer == "worth buying"
    assert found.gain == pytest.approx(0.04 * math.log(1.5) / math.log(2))
    assert found.sentence.startswith("The next 1,000 queries look worth buying: +0.023 mAP (step) expected (")
    assert "from 1,000 to 2,000" in found.sentence


def test_a_curve_that_is_surely_flat_or_falls_does_not() -> None:
    for last in (seeds(0.501, 0.500, 0.499), seeds(0.48, 0.47, 0.48)):
        found = judge({500: seeds(0.5, 0.5, 0.5), 1000: last}, "mAP")
        assert found.answer == "not worth buying"
        assert "do not look worth buying" in found.sentence


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ((0.5, 0.5, 0.5), (0.52, 0.49, 0.51), "More seeds narrow this"),  # the interval covers 0 and more
        (
            (0.5, 0.5, 0.5),
            (0.5041, 0.504, 0.5042),
            "worth buying",
        ),  # surely above 0, surely below half a point
        ((0.5,), (0.6,), "one seed shows no spread"),
    ],
)
def test_what_the_numbers_do_not_show_is_not_said(
    first: tuple[float, ...], last: tuple[float, ...], reason: str
) -> None:
    found = judge({500: seeds(*first), 1000: seeds(*last)}, "mAP")
    assert found.answer in ("cannot tell", "not worth buying")
    assert reason in found.sentence


def test_one_size_shows_nothing() -> None:
    found = judge({500: seeds(0.5, 0.6)}, "mAP")
    assert (found.answer, found.gain) == ("cannot tell", None)
    assert "one size shows no slope" in found.sentence


def test_no_more_than_one_doubling_is_foretold() -> None:
    assert judge({200: seeds(0.4, 0.4), 400: seeds(0.5, 0.5)}, "mAP").more == 400
    found = judge({200: seeds(0.4, 0.4), 400: seeds(0.5, 0.5)}, "mAP")
    assert found.gain == pytest.approx(0.1)


def test_differences_are_taken_seed_by_seed() -> None:
    """The seeds differ by far more than the gain, and all gain alike."""
    first = seeds(0.2, 0.5, 0.8)
    found = judge({500: first, 1000: {seed: value + 0.02 for seed, value in first.items()}}, "mAP")
    assert found.answer == "worth buying"


def test_a_student_that_all_its_queries_did_not_help_is_named() -> None:
    qualities = {500: seeds(0.40, 0.41, 0.39), 1000: seeds(0.44, 0.45, 0.43)}
    found = judge(qualities, "mAP", before=0.46)
    assert found.answer == "worth buying"
    assert "with all 1,000 the student is no better than before (0.440 against 0.460)" in found.sentence
    assert judge(qualities, "mAP", before=0.43).sentence == judge(qualities, "mAP").sentence
