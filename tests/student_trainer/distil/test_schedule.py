"""Every image once an epoch, the same shuffle for the same seed, and any step can be the first."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.distil.schedule import Schedule
from student_trainer.recipe_sections import TrainingSection


def schedule(
    images: int, batch_size: int = 1000, epochs: int = 3, seed: int = 0, **settings: float
) -> Schedule:
    return Schedule(
        images,
        TrainingSection(batch_size=batch_size, epochs=epochs, seed=seed, **settings),  # type: ignore[arg-type]
    )


@given(st.integers(2, 300), st.integers(2, 120), st.integers(1, 4))
def test_every_epoch_shows_every_image_once(images: int, batch_size: int, epochs: int) -> None:
    plan = schedule(images, batch_size, epochs)
    moments = list(plan.after(0))
    assert [moment.step for moment in moments] == list(range(1, plan.total_steps + 1))
    for epoch in range(1, epochs + 1):
        shown = np.concatenate([moment.batch for moment in moments if moment.epoch == epoch])
        assert sorted(shown) == list(range(images))


@given(st.integers(2, 300), st.integers(2, 120))
def test_an_epoch_has_as_few_batches_as_possible_and_no_small_remainder(images: int, batch_size: int) -> None:
    sizes = [len(batch) for batch in schedule(images, batch_size).batches(1)]
    assert len(sizes) == math.ceil(images / batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(2, 60), st.integers(2, 20), st.integers(1, 3), st.data())
def test_a_schedule_taken_up_in_the_middle_goes_on_as_if_it_had_not_stopped(
    images: int, batch_size: int, epochs: int, data: st.DataObject
) -> None:
    plan = schedule(images, batch_size, epochs)
    finished = data.draw(st.integers(0, plan.total_steps))
    rest, whole = list(plan.after(finished)), list(plan.after(0))
    assert [m.step for m in rest] == [m.step for m in whole[finished:]]
    for resumed, original in zip(rest, whole[finished:], strict=True):
        assert np.array_equal(resumed.batch, original.batch)
        assert (resumed.epoch, resumed.learning_rate, resumed.ends_epoch) == (
            original.epoch,
            original.learning_rate,
            original.ends_epoch,
        )
    assert plan.images_seen(finished) == sum(len(moment.batch) for moment in whole[:finished])


def test_epochs_and_seeds_are_shuffled_differently() -> None:
    first, second = (schedule(100).batches(epoch)[0] for epoch in (1, 2))
    other_seed = schedule(100, seed=1).batches(1)[0]
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other_seed)
    assert np.array_equal(first, schedule(100).batches(1)[0])


def test_the_learning_rate_falls_exponentially_from_epoch_to_epoch_as_in_the_paper() -> None:
    plan = schedule(4000, epochs=30, learning_rate=1e-4, learning_rate_decay=0.01)
    assert plan.steps_per_epoch == 4
    rates = {moment.epoch: moment.learning_rate for moment in plan.after(0)}
    assert rates[1] == pytest.approx(1e-4)
    assert rates[11] == pytest.approx(1e-4 * math.exp(-0.1))
    assert rates[30] == pytest.approx(1e-4 * math.exp(-0.29))


def test_the_last_step_of_each_epoch_says_so() -> None:
    ends = [moment.ends_epoch for moment in schedule(10, batch_size=4, epochs=2).after(0)]
    assert ends == [False, False, True, False, False, True]
