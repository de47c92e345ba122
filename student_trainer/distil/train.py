"""Training the student: from the bought descriptors to the averaged weights.

In: a recipe; images with bought descriptors, labels or both; a run folder. Out: in that folder the recipe
in full, the training curve, the checkpoint, the student before and the student after.

Everything random is a function of (seed, epoch) or (seed, step). So a training that was killed and
continued ends at the same weights as one that was not: to the last bit on a CPU with the same number of
threads, to rounding on a graphics card or with another number of processes.
"""

import shutil
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import torch

from shared.checkpoints import save_network, weights_digest
from shared.views import WHOLE
from student_trainer.distil.checkpoint import Checkpoint
from student_trainer.distil.course import course, steps_left
from student_trainer.distil.data import TrainingData
from student_trainer.distil.heads import save_head
from student_trainer.distil.labels.learned import keep_learned
from student_trainer.distil.lineage.start import kept_start, start_of
from student_trainer.distil.log.events import (
    log_epoch,
    log_step,
    log_student,
    log_threshold,
    log_validation,
    note,
)
from student_trainer.distil.log.metrics import MetricsLog, NoMetrics
from student_trainer.distil.log.tensorboard import Board, writer_class
from student_trainer.distil.objectives import Objective
from student_trainer.distil.opening import open_training
from student_trainer.distil.prepare import Lesson, prepare
from student_trainer.distil.processes import ALONE, Processes
from student_trainer.distil.refusals import check_training
from student_trainer.distil.reproducible import reproducible
from student_trainer.distil.schedule import Moment
from student_trainer.distil.state import TrainingState
from student_trainer.distil.step import check_weights, take_step
from student_trainer.distil.validation import held_back_count, is_due
from student_trainer.distil.white_box.term import kept_head
from student_trainer.errors import StorageFailed
from student_trainer.lock import exclusive
from student_trainer.progress import Bar, progress
from student_trainer.recipe import Recipe
from student_trainer.recipe_checks import THRESHOLD
from student_trainer.run_folder import RunFolder

CHECKPOINT_EVERY_S = 300.0
"""Within an epoch; at the end of each epoch there is a checkpoint in any case."""


@dataclass(frozen=True)
class Outcome:
    """What a training left behind."""

    student: Path
    images: int
    """Trained on."""
    epochs: int
    steps: int
    already_finished: bool = False


def train(
    recipe: Recipe,
    data: TrainingData,
    run: RunFolder,
    *,
    restart: bool = False,
    tensorboard: bool = False,
    processes: Processes = ALONE,
) -> Outcome:
    """Train the recipe's student on the data, or continue where the same training was stopped.

    Args:
        recipe: what to train, and how.
        data: what to learn from.
        run: where the results go.
        restart: forget what was trained in this run folder before.
        tensorboard: mirror ``metrics.jsonl`` in event files; changes nothing about the training.
        processes: who trains together; all call this with the same arguments, and the first one writes.

    Raises:
        InvalidInput: the objective needs labels or descriptors that are not there, no layer is left to be
            trained, an image has changed, the run folder holds a training of another recipe or of other
            data, somebody works on it, or TensorBoard is asked for and not installed; or the processes do
            not see the same, or cannot compute this recipe together.
        TrainingFailed: a descriptor, a loss or a gradient is not finite; names the step and the images.
        StorageFailed: the disk is full, or the checkpoint is damaged.
    """
    device = processes.device(recipe.training.device)
    if tensorboard:
        writer_class()  # refuses before anything is written
    objective = check_training(recipe, data, processes)
    try:
        with exclusive(run) if processes.first else nullcontext(), reproducible(device):
            if restart:
                processes.on_first(lambda: forget(run))
            checkpoint = processes.from_first(lambda: Checkpoint.load(run.checkpoints))
            if checkpoint is not None:
                checkpoint.check_continues(recipe, data.digest())
                if checkpoint.finished and processes.from_first(run.student.exists):
                    if tensorboard:
                        processes.on_first(lambda: Board(run.tensorboard, run.metrics).close())
                    trained_on = checkpoint.images or len(data) - held_back_count(recipe, len(data))
                    return Outcome(run.student, trained_on, recipe.training.epochs, checkpoint.step, True)
            processes.on_first(lambda: recipe.write(run.recipe))
            board = run.tensorboard if tensorboard else None
            return _train(
                recipe,
                data,
                objective,
                run,
                device=device,
                checkpoint=checkpoint,
                board=board,
                processes=processes,
            )
    except OSError as error:
        raise StorageFailed(
            f"Cannot write to the run folder {run.root}: {error}. The last checkpoint is safe: make room and "
            "run the same command again."
        ) from None


def forget(run: RunFolder) -> None:
    """Remove what was trained in a run folder; the transfer set, which was paid for, stays."""
    for folder in (run.checkpoints, run.tensorboard):
        _remove(folder)
    learned = (run.learned_labels, run.learned_images)
    for file in (run.metrics, run.initial_student, run.student, run.head, *learned):
        file.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """Remove a folder, or where it is a link, as to a larger disk, what is in it."""
    if not folder.is_symlink():
        if folder.exists():
            shutil.rmtree(folder)
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _train(
    recipe: Recipe,
    data: TrainingData,
    objective: Objective,
    run: RunFolder,
    *,
    device: torch.device,
    checkpoint: Checkpoint | None,
    board: Path | None,
    processes: Processes,
) -> Outcome:
    """The story of a training, from top to bottom."""
    data_digest, notes = data.digest(), _notes(recipe, data)  # of all, decodable or not
    continued = checkpoint is not None
    start = kept_start(run) if continued and run.initial_student.is_file() else start_of(recipe)
    if start is not None:
        notes = start.handed_on(notes, {image.digest for image in data.images})

    # What to learn from.
    lesson = prepare(recipe, data, run, device, processes, objective=objective)
    if lesson.threshold is not None:
        notes[THRESHOLD] = f"{lesson.threshold.tau:g}"
    processes.on_first(partial(keep_learned, run, lesson.source.data, start, continued=continued))

    # The student, with its initial weights or as the checkpoint has it.
    state, lesson = open_training(recipe, lesson, checkpoint, run, notes)

    # Its steps.
    schedule = course(recipe, lesson.objective, lesson.source.data)
    seen, total = schedule.images_seen(state.finished_steps), schedule.images_seen(schedule.total_steps)
    with (
        MetricsLog(run.metrics, state.finished_steps, board) if processes.first else NoMetrics() as log,
        progress("Training", total, "images", done=seen, shown=processes.first) as bar,
    ):
        if checkpoint is None:
            _begin(state, lesson, log)
        saved_s = time.monotonic()
        for moment in steps_left(schedule, state, lesson.source, lesson.objective, log=log, bar=bar):
            _step(state, moment, lesson, recipe, log=log, bar=bar)
            if moment.ends_epoch:
                _end_epoch(state, moment, lesson, recipe, log)
            if moment.ends_epoch or time.monotonic() - saved_s >= CHECKPOINT_EVERY_S:
                check_weights(state, moment)
                log.sync()
                kept = state.checkpoint(
                    recipe, data_digest, images=schedule.images, total_steps=schedule.total_steps
                )
                processes.on_first(partial(kept.save, run.checkpoints))
                saved_s = time.monotonic()

        # The mean of its weights.
        if recipe.averaging.epochs:
            state.become_mean()
        if lesson.validation is not None:
            log_student(log, lesson.validation.scores(state.student), step=schedule.total_steps)
        processes.on_first(partial(_save, state, recipe, run, notes))
    processes.wait()  # whoever ends without an error says that the student is there
    return Outcome(run.student, schedule.images, recipe.training.epochs, schedule.total_steps)


def _save(state: TrainingState, recipe: Recipe, run: RunFolder, notes: dict[str, str]) -> None:
    """The student last: who finds it finds its head too."""
    head = kept_head(state.head)
    if head is not None:
        digest = weights_digest(state.student)
        save_head(head, run.head, objective=recipe.objective.name, student_digest=digest)
    save_network(state.student, run.student, notes)


def _begin(state: TrainingState, lesson: Lesson, log: MetricsLog) -> None:
    """Note what precedes the first step."""
    if lesson.threshold is not None:
        log_threshold(log, lesson.threshold)
    if lesson.validation is not None:
        log_validation(log, lesson.validation.scores(state.student), step=0, epoch=0)


def _step(
    state: TrainingState, moment: Moment, lesson: Lesson, recipe: Recipe, *, log: MetricsLog, bar: Bar
) -> None:
    """Take one step, and tell of it."""
    started_s = time.monotonic()
    allow_inexact = recipe.training.batch_norm == "per-chunk"
    result = take_step(
        state,
        moment,
        lesson.source,
        lesson.objective,
        allow_inexact=allow_inexact,
        on_images=bar.advance,
        term=lesson.term,
    )
    bar.advance(0, note(moment, result))
    log_step(log, moment, result, time.monotonic() - started_s)


def _end_epoch(state: TrainingState, moment: Moment, lesson: Lesson, recipe: Recipe, log: MetricsLog) -> None:
    """Note the epoch's loss and validation; take the weights into the mean if the recipe names this epoch."""
    averaged = moment.epoch in recipe.averaging.epochs
    if averaged:
        state.take_into_mean()
    log_epoch(log, moment, loss=fmean(state.epoch_losses), averaged=averaged)
    state.epoch_losses = []
    if lesson.validation is not None and is_due(recipe, moment.epoch):
        check_weights(state, moment)
        log_validation(log, lesson.validation.scores(state.student), step=moment.step, epoch=moment.epoch)


def _notes(recipe: Recipe, data: TrainingData) -> dict[str, str]:
    """What the saved networks say of their making."""
    looks = recipe.images.view
    notes = {
        "recipe": recipe.digest(),
        "objective": recipe.objective.name,
        "training_data": data.digest(),
        "teacher_revision": data.teacher_revision,
        "transfer_set": data.transfer_set_digest,
        "white_box": data.white_box.digest if data.white_box else None,
        "view": None if looks == WHOLE else looks.words(recipe.images.longest_side_px),
    }
    return {name: value for name, value in notes.items() if value is not None}
