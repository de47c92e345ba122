"""The student as it looks at candidates before it learns: its weights, its statistics and its name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.images import ImageLimits
from student_trainer.acquire.plan import take_stock
from student_trainer.acquire.records import PlannedImage
from student_trainer.acquire.selection.described import Describer
from student_trainer.datasets.manifest import Entry
from student_trainer.distil.eye import open_eye
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe

SIDE_PX = 32


@pytest.fixture
def candidates(paint: Callable[[int], list[Path]]) -> list[PlannedImage]:
    return take_stock([Entry(path) for path in paint(7)], ImageLimits()).candidates


def recipe(**student: str) -> Recipe:
    student = {"arch": "mobilenet_v2-320x0.1", "weights": "random", **student}
    document = {"student": student, "images": {"longest_side_px": SIDE_PX}, "training": {"device": "cpu"}}
    return Recipe.model_validate(document)


def test_random_weights_are_warned_of_and_take_their_statistics_from_the_candidates(
    candidates: list[PlannedImage], capsys: pytest.CaptureFixture[str]
) -> None:
    eye = open_eye(recipe())
    assert "weights are random" in capsys.readouterr().err
    raw = Describer(open_eye(recipe()).network, SIDE_PX, "cpu").identity
    looking = eye.on(candidates, None, lambda n: None)
    assert looking.identity != raw
    rows = looking(candidates)
    assert np.isfinite(rows).all()
    again = open_eye(recipe()).on(candidates[::-1], None, lambda n: None)
    np.testing.assert_array_equal(again(candidates), rows)
    words = eye.in_words(looking)
    assert words == f"mobilenet_v2-320x0.1-gem (random) at 32 px, {looking.identity[:12]}"


def test_an_eye_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"student\.weights"):
        open_eye(recipe(weights=str(tmp_path / "none.safetensors")))
    wrong = recipe().model_copy(update={"training": recipe().training.model_copy(update={"device": "none"})})
    with pytest.raises(InvalidInput, match=r"training\.device"):
        open_eye(wrong)
