"""Balanced batches hold whole groups of labels, and are the same for the same seed and epoch."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from student_trainer.distil.balanced import BalancedSchedule, in_turns
from student_trainer.distil.labels import UNLABELLED
from student_trainer.errors import InvalidInput
from student_trainer.recipe_sections import TrainingSection


def schedule(
    labels: list[int], batch_size: int = 32, per_label: int = 8, epochs: int = 2, seed: int = 0
) -> BalancedSchedule:
    setting = TrainingSection(
        batch_size=batch_size, images_per_label=per_label, epochs=epochs, seed=seed, sampling="balanced"
    )
    return BalancedSchedule.of(np.array(labels, np.int64), setting)


def of_sizes(*sizes: int, unlabelled: int = 0) -> list[int]:
    """So many images of label 0, of label 1, and so on, and some without."""
    return [label for label, size in enumerate(sizes) for _ in range(size)] + [UNLABELLED] * unlabelled


sizes = st.lists(st.integers(1, 12), min_size=2, max_size=8)


@settings(max_examples=40)
@given(sizes, st.integers(2, 5), st.integers(3, 6), st.integers(0, 30), st.integers(1, 3))
def test_a_batch_is_groups_of_two_labels_or_more_and_packs_of_images_that_have_no_other_of_theirs(
    sizes: list[int], per_label: int, slots: int, unlabelled: int, epoch: int
) -> None:
    labels = np.array(of_sizes(5, 5, *sizes, unlabelled=unlabelled))
    plan = schedule(labels.tolist(), slots * per_label, per_label)
    grouped = {label for label, size in Counter(labels.tolist()).items() if size > 1} - {UNLABELLED}
    for batch in plan.batches(epoch):
        groups = Counter(label for label in labels[batch].tolist() if label in grouped)
        assert set(groups.values()) == {per_label}
        assert 2 <= len(groups) <= slots
        loose = [row for row in batch.tolist() if labels[row] not in grouped]
        assert len(loose) == len(set(loose))
        assert len(batch) <= slots * per_label


@settings(max_examples=40)
@given(sizes, st.integers(0, 30), st.data())
def test_a_balanced_schedule_taken_up_in_the_middle_goes_on_as_if_it_had_not_stopped(
    sizes: list[int], unlabelled: int, data: st.DataObject
) -> None:
    plan = schedule(of_sizes(4, 4, *sizes, unlabelled=unlabelled), batch_size=12, per_label=3)
    finished = data.draw(st.integers(0, plan.total_steps))
    whole = list(plan.after(0))
    assert [moment.step for moment in whole] == list(range(1, plan.total_steps + 1))
    for resumed, original in zip(plan.after(finished), whole[finished:], strict=True):
        assert resumed.step == original.step
        assert np.array_equal(resumed.batch, original.batch)
    assert plan.images_seen(finished) == sum(len(moment.batch) for moment in whole[:finished])


@given(st.integers(1, 20), st.data())
def test_in_turns_nothing_comes_again_before_all_others_and_nothing_twice_in_a_draw(
    count: int, data: st.DataObject
) -> None:
    wanted = data.draw(st.lists(st.integers(0, count), max_size=12))
    draws = in_turns(count, np.array(wanted, np.int64), np.random.default_rng(0))
    assert [len(draw) for draw in draws] == wanted
    assert all(len(set(draw.tolist())) == len(draw) for draw in draws)
    drawn = [place for draw in draws for place in draw.tolist()]
    for start in range(0, len(drawn) - count + 1, count):
        assert sorted(drawn[start : start + count]) == list(range(count))


def test_more_than_there_are_cannot_be_drawn_at_once() -> None:
    with pytest.raises(ValueError, match="5 distinct ones out of 4"):
        in_turns(4, np.array([5]), np.random.default_rng(0))


def test_an_epoch_shows_as_many_images_as_there_are_and_every_label_alike() -> None:
    plan = schedule(of_sizes(40, 8, 8, 8), batch_size=32, per_label=8)
    assert plan.steps_per_epoch == 2
    assert plan.images_seen(2) == 64
    labels = Counter(plan.labels[np.concatenate(plan.batches(1))].tolist())
    assert labels == {0: 16, 1: 16, 2: 16, 3: 16}
    assert plan.sentence() == "Balanced batches: 4 labels, 8 images of each."


def test_a_label_with_fewer_images_than_a_group_shows_each_as_often_as_it_can() -> None:
    plan = schedule(of_sizes(3, 9), batch_size=16, per_label=8)
    batch = plan.batches(1)[0]
    times = Counter(batch[plan.labels[batch] == 0].tolist())
    assert sorted(times.values()) == [2, 3, 3]


def test_unlabelled_images_and_labels_of_one_image_come_in_packs_in_proportion_to_their_number() -> None:
    plan = schedule([*of_sizes(16, 16, 16, 16, 1), *[UNLABELLED] * 15], batch_size=32)
    shown = np.concatenate(plan.batches(1))
    assert len(shown) == plan.images_seen(plan.steps_per_epoch) == 96
    assert sorted(shown[shown >= 64].tolist()) == list(range(64, 80))  # each once
    assert plan.alone == 1
    assert plan.sentence() == (
        "Balanced batches: 3 to 4 labels, 8 images of each. Images that belong to no group (15 "
        "without a label, 1 alone with their label) take the place of a label, 8 at a time, 2 times an epoch."
    )


def test_many_unlabelled_images_leave_room_for_two_labels_in_every_batch() -> None:
    plan = schedule(of_sizes(8, 8, 8, unlabelled=400), batch_size=32)
    for batch in plan.batches(1):
        assert len(set(plan.labels[batch].tolist()) - {UNLABELLED}) == 2
        assert (plan.labels[batch] == UNLABELLED).sum() == 16


def test_seeds_and_epochs_draw_differently_and_the_same_ones_alike() -> None:
    labels = of_sizes(12, 12, 12, 12)
    first = np.concatenate(schedule(labels).batches(1))
    assert np.array_equal(first, np.concatenate(schedule(labels).batches(1)))
    assert not np.array_equal(first, np.concatenate(schedule(labels).batches(2)))
    assert not np.array_equal(first, np.concatenate(schedule(labels, seed=1).batches(1)))


@pytest.mark.parametrize(
    ("labels", "batch_size", "message"),
    [
        (of_sizes(9, 1, 1), 32, "2 labels with two images or more, and there are 1 among 11 images"),
        ([UNLABELLED] * 9, 32, "there are 0 among 9 images"),
        (of_sizes(9, 9), 15, "2 labels of 8 images each. Take at least: --set training.batch_size=16"),
        (of_sizes(9, 9, 1), 16, "each and a pack of images that belong to no group (1 alone with their "
         "label). Take at least: --set training.batch_size=24"),
        (of_sizes(9, 9, unlabelled=3), 16, "that belong to no group (3 without a label). Take at least"),
    ],
)  # fmt: skip
def test_labels_that_cannot_fill_a_batch_are_refused(
    labels: list[int], batch_size: int, message: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        schedule(labels, batch_size)
    assert message in str(refused.value)


def test_balanced_sampling_of_images_with_several_labels_is_refused() -> None:
    with pytest.raises(InvalidInput, match="several labels each"):
        BalancedSchedule.of(np.eye(4, dtype=np.int64), TrainingSection(sampling="balanced"))


def test_balanced_sampling_without_labels_is_refused() -> None:
    with pytest.raises(InvalidInput, match="the objective learns without labels"):
        BalancedSchedule.of(None, TrainingSection(sampling="balanced"))
