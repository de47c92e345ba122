"""What can be known before the first step: whether the data fit the objective, and whether they can teach.

In: a recipe and its data. Out: the objective; a refusal; or a sentence of advice.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from student_trainer.distil import objectives
from student_trainer.distil.data import TrainingData
from student_trainer.distil.labels.counts import check_enough
from student_trainer.distil.labels.of_batch import UNLABELLED, lowest_and_highest
from student_trainer.distil.objectives import Objective
from student_trainer.distil.similarities import median_similarity, neighbourhoods
from student_trainer.distil.threshold import HIGHEST, Threshold, choose, with_threshold
from student_trainer.errors import InvalidInput
from student_trainer.naming import some_names
from student_trainer.recipe import Recipe
from student_trainer.recipe_checks import AUTO, OBJECTIVE_SEED, THRESHOLD, objective_settings

NEARLY_ALL = 0.95
"""An image with this share of the others above the threshold has next to nothing to be ranked last."""


def make_objective(recipe: Recipe) -> Objective:
    """The recipe's objective; one that draws at random follows ``training.seed`` unless it has its own.

    Raises:
        InvalidInput: a setting is out of range.
        ValueError: tau is still to be chosen; :func:`student_trainer.distil.threshold.fitted` does.
    """
    if recipe.objective.settings.get(THRESHOLD) == AUTO:
        raise ValueError("tau is still to be chosen from the bought descriptors.")
    name, settings = recipe.objective.name, recipe.objective.settings
    if OBJECTIVE_SEED in objective_settings(name):
        settings.setdefault(OBJECTIVE_SEED, recipe.training.seed)
    return objectives.get(name)(**settings)


def unfitted_objective(recipe: Recipe) -> Objective:
    """The objective before its data are known: to be asked what it needs, and not to be trained.

    Raises:
        InvalidInput: a setting is out of range.
    """
    unfitted = recipe.objective.settings.get(THRESHOLD) == AUTO
    return make_objective(with_threshold(recipe, HIGHEST) if unfitted else recipe)


def check_data(objective: Objective, data: TrainingData) -> None:
    """Refuse an objective that needs what is not there.

    Raises:
        InvalidInput: no labels or too few, no bought descriptors or one without a direction, or too few
            images to rank.
    """
    if objective.needs_labels and data.labels is None:
        raise labels_missing(objective)
    several = data.labels is not None and data.labels.ndim > 1
    if objective.needs_labels and several and not objective.facts.takes_several_labels:
        raise InvalidInput(
            f"The objective {objective.name!r} learns from one label for each image, and these images have "
            "several. Choose an objective that takes several, such as dch or csq."
        )
    if data.labels is not None:
        _check_labels(data.labels)
        if objective.needs_labels:
            check_enough(objective, data.labels)
    if objective.needs_teacher and data.teacher is None:
        raise InvalidInput(
            f"The objective {objective.name!r} learns from bought descriptors, and there are none. "
            "Buy them with: student-trainer fetch"
        )
    if data.teacher is not None:
        _check_teacher(data, data.teacher)
    if len(data) < 2:
        raise InvalidInput(f"There is {len(data)} image to train on; a ranking needs at least 2.")


def labels_missing(objective: Objective) -> InvalidInput:
    """The refusal of an objective that needs labels where there are none."""
    return InvalidInput(
        f"The objective {objective.name!r} learns from labels, and there are none: name them with "
        "--manifest FILE, --sfm120k DIR or --dataset NAME, or choose another objective."
    )


def tell_classes(objective: Objective, data: TrainingData) -> None:
    """Tell an objective that wants to know it how many classes the images of a training have."""
    if objective.facts.wants_classes and data.labels is not None:
        several = data.labels.ndim == 2
        objective.for_classes(data.labels.shape[1] if several else int(data.labels.max(initial=-1)) + 1)


def _check_labels(labels: NDArray[np.int64]) -> None:
    lowest, highest = lowest_and_highest(labels)
    if lowest < (UNLABELLED if labels.ndim == 1 else 0):
        raise InvalidInput(
            f"The images have labels from {lowest} to {highest}: class numbers count from 0, and an image "
            f"without a label has {UNLABELLED}."
        )


def _check_teacher(data: TrainingData, teacher: NDArray[np.float32]) -> None:
    norms = np.linalg.norm(teacher, axis=1)
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(bad):
        names = some_names([data.images[row].path for row in bad])
        raise InvalidInput(
            f"{len(bad):,} of {len(data):,} bought descriptors are zero or not finite, so nothing can be "
            f"ranked by them: {names}. Leave these images out, or ask the teacher's owner."
        )


@dataclass(frozen=True)
class Neighbours:
    """Whether the teacher's own similarities leave something to be ranked; needs no labels."""

    images: int
    alone: int
    """Images that have no other image above the threshold."""
    threshold: float
    suggested: Threshold
    """What ``tau = "auto"`` would choose."""
    crowded: int
    """Images that have nearly all others above the threshold."""
    median: float
    """Half of all pairs of images are at least this similar."""

    def sentence(self) -> str:
        """For people, with advice when most images are alone, or have nearly all others beside them."""
        if 2 * self.crowded > self.images:
            return self._too_alike()
        fact = (
            f"{self.alone:,} of {self.images:,} images have no other image more similar than "
            f"{THRESHOLD} = {self.threshold:g} to the teacher."
        )
        if 2 * self.alone <= self.images:
            return fact
        if self.suggested.tau >= self.threshold:
            return f"{fact} Lower, similarities mean nothing: choose another objective, or buy other images."
        better = self.suggested
        return (
            f"{fact} More than half have nothing to be ranked first: lower the threshold "
            f"(--set objective.{THRESHOLD}={better.tau:g}, above which {better.reached:,} images have "
            f"{better.neighbours} others or more; --set objective.{THRESHOLD}={AUTO} chooses the same), or "
            "choose another objective."
        )

    def _too_alike(self) -> str:
        # Rounded down: at the median itself half of the pairs are above, at 1 none could be.
        higher = min(int(self.median * 1000) / 1000, 0.999)
        return (
            f"{self.crowded:,} of {self.images:,} images have nearly all others above {THRESHOLD} = "
            f"{self.threshold:g} to the teacher. Where all are relevant, every ranking is perfect: the loss "
            f"is 0 and nothing is learned. Raise the threshold (half of all pairs are above {higher:.3f}: "
            f"--set objective.{THRESHOLD}={higher:.3f}), or choose another objective."
        )


def neighbours(recipe: Recipe, data: TrainingData) -> Neighbours | None:
    """The check, or None if the objective has no threshold or there is no teacher."""
    threshold = recipe.objective.settings.get(THRESHOLD)
    if data.teacher is None or threshold is None:
        return None
    nearest, above = neighbourhoods(data.teacher, float(threshold))
    return Neighbours(
        images=len(data),
        alone=int(np.count_nonzero(nearest <= threshold)),
        threshold=float(threshold),
        suggested=choose(data.teacher),
        crowded=int(np.count_nonzero(above >= NEARLY_ALL * (len(data) - 1))),
        median=median_similarity(data.teacher),
    )
