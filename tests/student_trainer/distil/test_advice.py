"""Advice before training: for mixing alone, and by how sparse the images are."""

import pytest

from student_trainer.distil.advice import advice
from student_trainer.distil.preflight import Neighbours
from student_trainer.distil.threshold import Threshold
from student_trainer.recipe import load


def found(alone: int) -> Neighbours:
    """100 images."""
    return Neighbours(
        images=100,
        alone=alone,
        threshold=0.75,
        suggested=Threshold(0.6, 100, 5, 50),
        crowded=0,
        median=0.2,
    )


@pytest.mark.parametrize(
    ("alone", "changes", "instead"),
    [
        (50, [], "--objective rank."),
        (51, [], "--objective rank, or --set objective.label_mixed=false, with --set objective.tau=auto."),
        (51, ["objective.grad_through_mixed=true"], "--set objective.grad_through_mixed=false."),
    ],
)
def test_mixing_is_told_what_did_better(alone: int, changes: list[str], instead: str) -> None:
    line = advice(load("quick-cpu", changes), found(alone))
    assert line is not None and line.endswith(f"to compare: {instead}")


def test_other_objectives_and_images_of_which_nothing_is_known_are_left_alone() -> None:
    assert advice(load("quick-cpu", ["objective.name=rank"]), found(60)) is None
    assert advice(load("quick-cpu"), None) is None
