"""``csd`` compares softmax distributions over each image's nearest by the teacher."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from independent_forms import Rows, assert_same, rows, unit

from student_trainer.distil.objectives import get
from student_trainer.distil.objectives.csd import csd
from student_trainer.errors import InvalidInput


def from_the_definition(student: Rows, teacher: Rows, k: int = 10, temperature: float = 0.1) -> float:
    ours, theirs = unit(student), unit(teacher)
    total = 0.0
    for query in range(len(theirs)):
        nearest = sorted(range(len(theirs)), key=lambda image: -np.dot(theirs[query], theirs[image]))[:k]
        assert query in nearest
        target = np.exp([np.dot(theirs[query], theirs[image]) / temperature for image in nearest])
        found = np.exp([np.dot(ours[query], theirs[image]) / temperature for image in nearest])
        target, found = target / target.sum(), found / found.sum()
        total += float(np.sum(target * np.log(target / found)))
    return total / len(theirs)


@pytest.mark.parametrize("images", [2, 9, 14])
def test_it_has_the_value_and_gradient_of_its_definition(images: int) -> None:
    """With 9 images, fewer than k, a context is the whole batch."""
    student, teacher = rows(images, 4), rows(images, 4, seed=1)
    assert_same(get("csd")(), from_the_definition, student, teacher)


def test_its_settings_are_those_of_the_definition() -> None:
    form = partial(from_the_definition, k=3, temperature=0.5)
    assert_same(get("csd")(k=3, temperature=0.5), form, rows(7, 4), rows(7, 4, seed=1))


def test_it_is_0_where_the_two_agree_and_for_one_image() -> None:
    teacher = torch.from_numpy(rows(12, 3))
    assert abs(csd(3 * teacher, teacher).item()) < 1e-15
    assert csd(-teacher[:1], teacher[:1]).item() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 1}, "k = 1"),
        ({"k": 2.5}, r"k = 2\.5"),
        ({"temperature": 0.0}, r"temperature = 0\.0"),
        ({"temperature": float("nan")}, "temperature = nan"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        get("csd")(**settings)
