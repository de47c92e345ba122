"""Which steps a training takes: every image in turn, or tuples that are mined at the beginning of each epoch.

In: a recipe, its objective and its data; later the state of the training. Out: the schedule, and the steps
that are left, each made when it is asked for, because tuples depend on the weights that earlier steps left.
"""

import time
from collections.abc import Iterator

from student_trainer.distil.balanced import BALANCED, BalancedSchedule
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.data import TrainingData
from student_trainer.distil.labels.counts import LabelCounts, learns_from_positives, single_images
from student_trainer.distil.log.events import log_mining
from student_trainer.distil.log.metrics import MetricsLog
from student_trainer.distil.objectives import Objective
from student_trainer.distil.objectives.tupled import TupleObjective
from student_trainer.distil.schedule import Moment, Schedule
from student_trainer.distil.state import TrainingState
from student_trainer.distil.tuples.draws import TupleDraws
from student_trainer.distil.tuples.mining import mine
from student_trainer.distil.tuples.schedule import TupleSchedule
from student_trainer.errors import InvalidInput
from student_trainer.output import say
from student_trainer.progress import Bar
from student_trainer.recipe import Recipe

Course = Schedule | TupleSchedule


def course(recipe: Recipe, objective: Objective, data: TrainingData) -> Course:
    """The schedule of the objective.

    Raises:
        InvalidInput: it learns from tuples or balanced batches, and the labels or the batch cannot hold one.
    """
    mining = objective.mining
    balanced = recipe.training.sampling == BALANCED
    if mining is None:
        setting = recipe.training
        return BalancedSchedule.of(data.labels, setting) if balanced else Schedule(len(data), setting)
    if balanced:
        raise InvalidInput(
            f'training.sampling = "balanced" draws batches, and the objective {objective.name!r} draws its '
            "own tuples: --set training.sampling=all"
        )
    draws = TupleDraws.of(mining, data, recipe.training.seed, recipe.training.epochs)
    return TupleSchedule(draws, recipe.training)


def steps_left(
    schedule: Course,
    state: TrainingState,
    source: BatchSource,
    objective: Objective,
    *,
    log: MetricsLog,
    bar: Bar,
) -> Iterator[Moment]:
    """The steps that the state has not taken; between two of them the caller has taken the first.

    Raises:
        TrainingFailed: a descriptor is not finite while negatives are mined.
    """
    if (
        state.finished_steps == 0
        and source.processes.first
        and (line := _of_labels(schedule, objective, source))
    ):
        say(line)
    if isinstance(schedule, Schedule):
        yield from schedule.after(state.finished_steps)
        return
    done = state.finished_steps
    for epoch in range(done // schedule.steps_per_epoch + 1, schedule.setting.epochs + 1):
        if state.mined is None or state.mined.epoch != epoch:
            _mine(schedule, state, source, objective, epoch, log=log, bar=bar)
        assert state.mined is not None
        for moment in schedule.moments(state.mined):
            if moment.step > done:
                yield moment


def _of_labels(schedule: Course, objective: Objective, source: BatchSource) -> str | None:
    """How the labels are used, and what they do not give."""
    if isinstance(schedule, TupleSchedule):
        return schedule.draws.sentence()
    if isinstance(schedule, BalancedSchedule):
        return schedule.sentence()
    labels = source.data.labels
    if labels is None or not learns_from_positives(objective):
        return None
    return single_images(LabelCounts.of(labels).with_one_image)


def _mine(
    schedule: TupleSchedule,
    state: TrainingState,
    source: BatchSource,
    objective: Objective,
    epoch: int,
    *,
    log: MetricsLog,
    bar: Bar,
) -> None:
    """Mine the tuples of an epoch into the state, and tell of it."""
    started_s, described = time.monotonic(), 0

    def tell(images: int) -> None:
        nonlocal described
        described += images
        bar.advance(0, f"mining negatives for epoch {epoch}, {described:,} images described")

    assert isinstance(objective, TupleObjective)
    into = objective.into_teachers_space
    state.mined, findings = mine(state.trained, source, schedule.draws, epoch, tell, into_teachers_space=into)
    # Under the number of the step that it precedes: where that step was undone by a kill, so was this.
    step, seconds = state.finished_steps + 1, time.monotonic() - started_s
    log_mining(log, findings, step=step, epoch=epoch, seconds=seconds)
