"""What a call of a loss costs, measured where nothing else is."""

import pytest

from student_trainer.errors import TrainingFailed
from student_trainer.trials.loss_cost import LossShape, loss_cost


def shape(objective: str, images: int = 64, **settings: object) -> LossShape:
    return LossShape(objective, dict(settings), images, student_dim=8, teacher_dim=12, device="cpu")


def test_a_call_takes_time_and_memory() -> None:
    cost = loss_cost(shape("pkt", images=500))
    assert cost.milliseconds > 0
    # The two matrices of similarities alone have a quarter of a million numbers each.
    assert cost.mebibytes is None or cost.mebibytes > 1.9


def test_what_the_objective_refuses_is_said_in_its_own_words() -> None:
    with pytest.raises(TrainingFailed, match=r"The cost of darkrank-hard .*A list of 19 images beside"):
        loss_cost(shape("darkrank-hard", images=20, list_length=19))
