"""Before the first step: images decoded, some held back, tau chosen, and what is doubtful said.

In: a recipe and its data. Out: a :class:`Lesson`, all that a training takes from its data.
"""

from dataclasses import dataclass

import torch

from shared.images import Preprocessing
from student_trainer.distil.advice import advice
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import PixelStore, open_store
from student_trainer.distil.objectives import Objective
from student_trainer.distil.precision import warning
from student_trainer.distil.preflight import check_data, make_objective, neighbours
from student_trainer.distil.processes import Processes
from student_trainer.distil.threshold import Threshold, fitted
from student_trainer.distil.validation import Validation, hold_back
from student_trainer.distil.views import StudentViews, preprocessing_in_use
from student_trainer.distil.white_box.term import MapTerm
from student_trainer.naming import some_names
from student_trainer.output import say
from student_trainer.progress import progress
from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder


@dataclass(frozen=True)
class Lesson:
    """What is learned, from what, and what watches it."""

    objective: Objective
    source: BatchSource
    """Of the images that are trained on."""
    validation: Validation | None
    threshold: Threshold | None
    """How tau was chosen; None where the recipe states it."""
    term: MapTerm | None = None
    """Of an objective on feature maps."""


def prepare(
    recipe: Recipe,
    data: TrainingData,
    run: RunFolder,
    device: torch.device,
    processes: Processes,
    *,
    objective: Objective,
) -> Lesson:
    """Get everything ready; the same every time from the same data.

    The objective is that of the recipe, made anew if its tau is chosen here.

    Raises:
        InvalidInput: an image has changed, or too few of them can be decoded.
        StorageFailed: the disk is full.
    """
    doubt = warning(recipe.training.precision, device)
    if doubt is not None and processes.first:
        say(doubt)
    preprocessing = preprocessing_in_use(recipe)
    store = _decode(run, data, preprocessing, recipe.images.side_multiple_px, processes)
    data = data.take(store.readable)
    check_data(objective, data)
    learned, held = hold_back(recipe, data)
    chunk_size, views = recipe.training.chunk_size, StudentViews.of(recipe)
    everything = BatchSource(store, data, preprocessing, chunk_size, device, processes, views=views)
    source = everything.take(learned)
    with_tau, threshold = fitted(recipe, source.data.teacher)
    found = neighbours(with_tau, source.data)
    if processes.first:
        findings = [finding.sentence() for finding in (threshold, found) if finding is not None]
        for line in (*findings, advice(with_tau, found)):
            if line is not None:
                say(line)
    validation = Validation.of(everything.take(held), with_tau) if held else None
    fitting = objective if threshold is None else make_objective(with_tau)
    return Lesson(fitting, source, validation, threshold)


def _decode(
    run: RunFolder,
    data: TrainingData,
    preprocessing: Preprocessing,
    side_multiple_px: int,
    processes: Processes,
) -> PixelStore:
    """The decoded images; files that cannot be decoded are named and left out."""
    with (
        processes.first_goes_ahead(),
        progress("Decoding", len(data), "images", shown=processes.first) as bar,
    ):
        store = open_store(
            run.cache, data.images, preprocessing, bar.advance, side_multiple_px=side_multiple_px
        )
    if store.unreadable and processes.first:
        reasons = some_names([f"{path} ({reason})" for path, reason in store.unreadable.items()])
        say(f"{len(store.unreadable):,} of {len(data):,} images are left out, not decodable: {reasons}")
    return store
