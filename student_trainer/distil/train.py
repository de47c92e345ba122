"""Training the student: from the bought descriptors to the averaged weights.

In: a recipe; images with bought descriptors, labels or both; a run folder. Out: in that folder the recipe
in full, the training curve, the checkpoint, the student before and the student after.

Everything random is a function of (seed, epoch) or (seed, step). So a training that was killed and
continued ends at the same weights as one that was not: to the last bit on a CPU with the same number of
threads, to rounding on a graphics card.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch

from shared.checkpoints import save_network
from shared.extraction import pick_device
from shared.images import Preprocessing
from student_trainer.acquire.lock import exclusive
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.checkpoint import Checkpoint
from student_trainer.distil.data import TrainingData
from student_trainer.distil.events import log_epoch, log_step, log_threshold, note
from student_trainer.distil.images import PixelStore, open_store
from student_trainer.distil.metrics import MetricsLog
from student_trainer.distil.preflight import (
    check_data,
    make_objective,
    neighbours,
    say,
    some_names,
    unfitted_objective,
)
from student_trainer.distil.reproducible import reproducible
from student_trainer.distil.schedule import Moment, Schedule
from student_trainer.distil.state import TrainingState
from student_trainer.distil.step import check_weights, take_step
from student_trainer.distil.student import build_student, calibrate
from student_trainer.distil.threshold import fitted
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.progress import progress
from student_trainer.recipe import RANDOM, Recipe
from student_trainer.recipe_checks import THRESHOLD
from student_trainer.run_folder import RunFolder

CHECKPOINT_EVERY_S = 300.0
"""Within an epoch; at the end of each epoch there is a checkpoint in any case."""


@dataclass(frozen=True)
class Outcome:
    """What a training left behind."""

    student: Path
    images: int
    epochs: int
    steps: int
    already_finished: bool = False


def train(recipe: Recipe, data: TrainingData, run: RunFolder, *, restart: bool = False) -> Outcome:
    """Train the recipe's student on the data, or continue where the same training was stopped.

    Args:
        recipe: what to train, and how.
        data: what to learn from.
        run: where the results go.
        restart: forget what was trained in this run folder before.

    Raises:
        InvalidInput: the objective needs labels or descriptors that are not there, an image has changed,
            the run folder holds a training of another recipe or of other data, or somebody works on it.
        TrainingFailed: a descriptor, a loss or a gradient is not finite; names the step and the images.
        StorageFailed: the disk is full, or the checkpoint is damaged.
    """
    device = _device(recipe)
    check_data(unfitted_objective(recipe), data)
    try:
        with exclusive(run), reproducible(device):
            if restart:
                forget(run)
            checkpoint = Checkpoint.load(run.checkpoints)
            if checkpoint is not None:
                checkpoint.check_continues(recipe, data.digest())
                if checkpoint.finished and run.student.exists():
                    return Outcome(run.student, len(data), recipe.training.epochs, checkpoint.step, True)
            recipe.write(run.recipe)
            return _train(recipe, data, run, device=device, checkpoint=checkpoint)
    except OSError as error:
        raise StorageFailed(
            f"Cannot write to the run folder {run.root}: {error}. The last checkpoint is safe: make room and "
            "run the same command again."
        ) from None


def forget(run: RunFolder) -> None:
    """Remove what was trained in a run folder; the transfer set, which was paid for, stays."""
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    for file in (run.metrics, run.initial_student, run.student):
        file.unlink(missing_ok=True)


def _train(
    recipe: Recipe,
    data: TrainingData,
    run: RunFolder,
    *,
    device: torch.device,
    checkpoint: Checkpoint | None,
) -> Outcome:
    """The story of a training, from top to bottom."""
    setting, preprocessing = recipe.training, Preprocessing(recipe.images.longest_side_px)
    data_digest, notes = data.digest(), _notes(recipe, data)  # of all, readable or not

    # The images, decoded once.
    store = _decode(run, data, preprocessing)
    data = data.take(store.readable)
    check_data(unfitted_objective(recipe), data)

    # What to learn from them.
    with_tau, threshold = fitted(recipe, data.teacher)
    objective = make_objective(with_tau)
    if threshold is not None:
        say(threshold.sentence())
        notes[THRESHOLD] = f"{threshold.tau:g}"
    if found := neighbours(with_tau, data):
        say(found.sentence())

    # The student, with its initial weights or as the checkpoint has it.
    if checkpoint is None:
        student = build_student(recipe).to(device)
        if recipe.student.weights == RANDOM:
            calibrate(student, store, preprocessing, setting.seed)
        save_network(student, run.initial_student, notes)
        state = TrainingState.fresh(recipe, student, device)
    else:
        state = TrainingState.resumed(recipe, checkpoint, device)

    # Its steps.
    source = BatchSource(store, data, preprocessing, setting.chunk_size, device)
    schedule = Schedule(len(data), setting)
    seen, total = schedule.images_seen(state.finished_steps), schedule.images_seen(schedule.total_steps)
    with (
        MetricsLog(run.metrics, state.finished_steps) as log,
        progress("Training", total, "images", done=seen) as bar,
    ):
        if threshold is not None and checkpoint is None:
            log_threshold(log, threshold)
        saved_s = time.monotonic()
        for moment in schedule.after(state.finished_steps):
            started_s = time.monotonic()
            allow_inexact = setting.batch_norm == "per-chunk"
            result = take_step(
                state, moment, source, objective, allow_inexact=allow_inexact, on_images=bar.advance
            )
            bar.advance(0, note(moment, result))
            log_step(log, moment, result, time.monotonic() - started_s)
            if moment.ends_epoch:
                _end_epoch(state, moment, recipe, log)
            if moment.ends_epoch or time.monotonic() - saved_s >= CHECKPOINT_EVERY_S:
                check_weights(state, moment)
                log.sync()
                state.checkpoint(recipe, data_digest, schedule.total_steps).save(run.checkpoints)
                saved_s = time.monotonic()

    # The mean of its weights.
    if recipe.averaging.epochs:
        state.student.load_state_dict(state.mean.weights(like=state.student))
    save_network(state.student, run.student, notes)
    return Outcome(run.student, len(data), setting.epochs, schedule.total_steps)


def _device(recipe: Recipe) -> torch.device:
    try:
        return pick_device(recipe.training.device)
    except ValueError as error:
        raise InvalidInput(f"training.device: {error}") from None


def _decode(run: RunFolder, data: TrainingData, preprocessing: Preprocessing) -> PixelStore:
    """The decoded images; files that cannot be decoded are named and left out."""
    with progress("Decoding", len(data), "images") as bar:
        store = open_store(run.cache, data.images, preprocessing, on_image=bar.advance)
    if store.unreadable:
        reasons = some_names([f"{path} ({reason})" for path, reason in store.unreadable.items()])
        say(f"{len(store.unreadable):,} of {len(data):,} images are left out, not decodable: {reasons}")
    return store


def _end_epoch(state: TrainingState, moment: Moment, recipe: Recipe, log: MetricsLog) -> None:
    """Note the epoch's loss, and take the weights into the mean if the recipe names this epoch."""
    averaged = moment.epoch in recipe.averaging.epochs
    if averaged:
        state.mean.add(state.student)
    log_epoch(log, moment, loss=fmean(state.epoch_losses), averaged=averaged)
    state.epoch_losses = []


def _notes(recipe: Recipe, data: TrainingData) -> dict[str, str]:
    """What the saved networks say of their making."""
    notes = {
        "recipe": recipe.digest(),
        "objective": recipe.objective.name,
        "training_data": data.digest(),
        "teacher_revision": data.teacher_revision,
        "transfer_set": data.transfer_set_digest,
    }
    return {name: value for name, value in notes.items() if value is not None}
