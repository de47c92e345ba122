"""Every tuple once an epoch, whole tuples in every step, and any step can be the first."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.distil.tuples.draws import Mining, TupleDraws
from student_trainer.distil.tuples.schedule import Mined, TupleSchedule
from student_trainer.errors import InvalidInput
from student_trainer.recipe_sections import TrainingSection


def schedule(
    anchors: int,
    batch_size: int,
    negatives: int = 2,
    epochs: int = 3,
    by_teacher: bool = False,
    **settings: float,
) -> TupleSchedule:
    """Of as many anchors, in pairs of a label."""
    labels = np.arange(2 * anchors) // 2
    draws = TupleDraws(Mining(negatives, anchors, 1000, by_teacher), labels, None, seed=0)
    return TupleSchedule(draws, TrainingSection(batch_size=batch_size, epochs=epochs, **settings))  # type: ignore[arg-type]


def mined(plan: TupleSchedule, epoch: int) -> Mined:
    size = plan.draws.mining.tuple_images
    return Mined(epoch, np.arange(plan.draws.anchors * size).reshape(-1, size) + 10_000 * epoch)


@given(st.integers(1, 60), st.integers(4, 50), st.integers(1, 3))
def test_every_epoch_shows_every_tuple_once_and_whole(anchors: int, batch_size: int, epochs: int) -> None:
    plan = schedule(anchors, batch_size, epochs=epochs)
    seen = 0
    for epoch in range(1, epochs + 1):
        tuples = mined(plan, epoch)
        moments = list(plan.moments(tuples))
        np.testing.assert_array_equal(np.concatenate([m.batch for m in moments]), tuples.tuples.reshape(-1))
        sizes = [len(moment.batch) for moment in moments]
        assert len(sizes) == plan.steps_per_epoch == math.ceil(anchors / (batch_size // 4))
        assert all(size % 4 == 0 and size <= batch_size for size in sizes)
        assert max(sizes) - min(sizes) in (0, 4)
        assert [m.ends_epoch for m in moments] == [False] * (len(sizes) - 1) + [True]
        for moment in moments:
            assert (moment.epoch, plan.images_seen(moment.step - 1)) == (epoch, seen)
            seen += len(moment.batch)
    assert plan.images_seen(plan.total_steps) == seen
    assert moments[-1].step == plan.total_steps


@given(st.integers(1, 60), st.integers(2, 50), st.integers(1, 3))
def test_where_the_teacher_describes_the_others_a_batch_is_of_anchors(
    anchors: int, batch_size: int, epochs: int
) -> None:
    plan = schedule(anchors, batch_size, epochs=epochs, by_teacher=True)
    assert plan.steps_per_epoch == math.ceil(anchors / batch_size)
    tuples = mined(plan, epochs)
    moments = list(plan.moments(tuples))
    np.testing.assert_array_equal(np.concatenate([m.batch for m in moments]), tuples.tuples[:, 0])
    np.testing.assert_array_equal(np.concatenate([m.tuples for m in moments]), tuples.tuples)
    assert max(len(moment.batch) for moment in moments) <= batch_size
    assert plan.images_seen(plan.total_steps) == epochs * anchors


def test_the_learning_rate_falls_as_in_every_training() -> None:
    plan = schedule(6, 8, learning_rate=5e-7, learning_rate_decay=0.01)
    rates = [next(plan.moments(mined(plan, epoch))).learning_rate for epoch in (1, 3)]
    assert rates == pytest.approx([5e-7, 5e-7 * math.exp(-0.02)])


def test_tuples_come_back_from_a_checkpoint_as_they_were() -> None:
    before = Mined(4, np.arange(12).reshape(3, 4))
    after = Mined.from_state(before.state())
    assert after.epoch == 4
    np.testing.assert_array_equal(after.tuples, before.tuples)


def test_a_batch_that_holds_no_tuple_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"batch_size = 6 images, and a tuple has 7: .*batch_size=7"):
        schedule(10, batch_size=6, negatives=5)
