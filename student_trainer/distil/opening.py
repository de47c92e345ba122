"""What a training goes on from: a student and what is learned beside it, new or as a checkpoint kept them.

In: a recipe, what is to be learned, and a checkpoint if there is one. Out: the state, and the lesson with the
features and terms that this student needs.

A projection starts as the linear map that suits the student as it is: the one with the least sum of squared
distances to the bought descriptors. A random one would have to be unlearned first, which at the learning rate
of a fine-tuned network takes more steps than a distillation has.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from shared.batch_norm import modes_kept
from shared.checkpoints import save_network
from shared.learned_map import learn_projection
from shared.network import DescriptorNet
from student_trainer.distil.backward import BadNumbers, describe_without_graph
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.checkpoint import Checkpoint
from student_trainer.distil.descriptors import unit_rows
from student_trainer.distil.frozen_layers import with_features
from student_trainer.distil.heads import Head, fit_head
from student_trainer.distil.prepare import Lesson
from student_trainer.distil.state import TrainingState
from student_trainer.distil.student import build_student, build_untrained, calibrate
from student_trainer.distil.white_box.term import kept_head, term_of, with_map_weights
from student_trainer.errors import TrainingFailed
from student_trainer.naming import some_names
from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder

ALIGNED_ON = 2000
"""Images, at most, that a projection's first weights are taken from."""


def open_training(
    recipe: Recipe, lesson: Lesson, checkpoint: Checkpoint | None, run: RunFolder, notes: dict[str, str]
) -> tuple[TrainingState, Lesson]:
    """The state before the next step; the student before the first is written down.

    Raises:
        InvalidInput: a student that cannot be made, or images too small for its batch norm.
        TrainingFailed: a descriptor of the student before its first step is not finite.
        StorageFailed: features of frozen layers do not fit on the disk.
    """
    device, processes, seed = lesson.source.device, lesson.source.processes, recipe.training.seed
    if checkpoint is None:
        student = _new_student(recipe, lesson)
        processes.on_first(partial(save_network, student, run.initial_student, notes))
        state = TrainingState.fresh(recipe, student, device, _head(lesson, student, seed))
    else:
        head = _head(lesson, build_untrained(recipe), seed)
        state = TrainingState.resumed(recipe, checkpoint, device, head)
    source = with_features(lesson.source, state.student, recipe.student.trained_from, run.cache)
    projection = kept_head(state.head)
    if checkpoint is None and projection is not None and projection.kind == "projection":
        _align(projection, state.trained, source, seed)
    term = term_of(recipe, lesson.objective, source.data.white_box, state.student, state.head)
    return state, replace(lesson, source=source, term=term)


def _new_student(recipe: Recipe, lesson: Lesson) -> DescriptorNet:
    """With its initial weights, the same in all processes."""
    source = lesson.source
    with source.processes.first_goes_ahead():  # weights are downloaded once
        student = build_student(recipe).to(source.device)
    if recipe.student.draws_weights:
        drawn_from = recipe.student.drawn_from
        calibrate(student, source.store, source.preprocessing, recipe.training.seed, drawn_from=drawn_from)
    source.processes.same_weights(student)
    return student


def _head(lesson: Lesson, student: DescriptorNet, seed: int) -> nn.Module | None:
    """What the objective learns of its own, with its initial weights."""
    teacher = lesson.source.data.teacher
    head = fit_head(lesson.objective, student.dim, None if teacher is None else teacher.shape[1], seed)
    return with_map_weights(lesson.objective, student, lesson.source, head, seed=seed)


def _align(projection: Head, network: nn.Module, source: BatchSource, seed: int) -> None:
    """Give the projection the weights of the best linear map for the student as it is."""
    assert source.data.teacher is not None
    rows = np.sort(np.random.default_rng([seed]).permutation(len(source.data))[:ALIGNED_ON])
    try:
        with modes_kept(network):
            network.eval()
            found = describe_without_graph(network, lambda: source.chunks(rows), len(rows), source.processes)
    except BadNumbers as error:
        names = some_names(source.names(rows, error.rows))
        raise TrainingFailed(f"Before the first step: {error.what}; look at {names}.") from None
    units = unit_rows(found, "student").cpu().numpy()
    best = learn_projection(units, source.data.teacher[rows])
    with torch.no_grad():
        projection.linear.weight.copy_(torch.from_numpy(best.projection))
    source.processes.same_weights(projection)
