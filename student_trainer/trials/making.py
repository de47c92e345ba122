"""How a network comes about: trained, as it was before training, or given.

In: a recipe and what it learns from, or a checkpoint. Out: a checkpoint in the cell's folder.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np

from shared.checkpoints import save_network
from shared.digest import digest_of_list
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import open_store
from student_trainer.distil.log.reading import read_training_log
from student_trainer.distil.preflight import NEARLY_ALL
from student_trainer.distil.similarities import neighbourhoods
from student_trainer.distil.student import build_student, calibrate
from student_trainer.distil.threshold import fitted
from student_trainer.distil.train import train
from student_trainer.distil.views import preprocessing_in_use
from student_trainer.errors import TrainingFailed
from student_trainer.recipe import Recipe
from student_trainer.recipe_checks import THRESHOLD
from student_trainer.recipe_sections import IMAGENET, RANDOM
from student_trainer.run_folder import RunFolder
from student_trainer.trials.cells import Outcome
from student_trainer.trials.contents import Contents


@dataclass(frozen=True)
class Trained:
    """A student, trained on images with bought descriptors or labels."""

    recipe: Recipe
    data: TrainingData
    network: str = "trained"

    @property
    def seed(self) -> int:
        """The training's."""
        return self.recipe.training.seed

    @cached_property
    def images_digest(self) -> str:
        """Of the images alone: what is decoded for one such training serves another."""
        return digest_of_list([image.digest for image in self.data.images])

    @cached_property
    def name(self) -> str:
        """By size, seed and the digest of everything else."""
        digest = digest_of_list(
            [self.recipe.digest(), _weights(self.recipe, self._start), self.data.digest()]
        )
        return f"n{len(self.data):06}-seed{self.seed}-{digest[:16]}"

    @cached_property
    def _start(self) -> Contents:
        return _start_of(self.recipe)

    def require_unchanged(self) -> None:
        """See :class:`student_trainer.trials.cells.Making`; training itself compares the images."""
        self._start.require_unchanged()

    def checkpoint(self, folder: RunFolder) -> Path:
        """See :class:`student_trainer.trials.cells.Making`."""
        return folder.student

    def make(self, folder: RunFolder) -> Outcome:
        """See :class:`student_trainer.trials.cells.Making`."""
        outcome = train(self.recipe, self.data, folder)
        if outcome.steps == 0:
            raise TrainingFailed(
                f"The training of {self.name} has no step, so its student is the one before training: "
                "training.epochs must be 1 or more."
            )
        log = read_training_log(folder.metrics)
        facts = _neighbours(self.recipe, self.data)
        if log.steps:
            facts |= {"first loss": log.steps[0].loss, "last loss": log.steps[-1].loss}
            facts["highest loss"] = max(step.loss for step in log.steps)
            facts["step"] = median(step.seconds for step in log.steps)
        seconds = sum(step.seconds for step in log.steps)
        return Outcome(outcome.images, outcome.epochs, outcome.steps, seconds, facts)


@dataclass(frozen=True)
class Untrained:
    """The student before its first step."""

    recipe: Recipe
    data: TrainingData | None = None
    """Training images: batch norm of random weights takes its statistics from them."""
    network: str = "before"

    @classmethod
    def before(cls, recipe: Recipe, data: TrainingData | None) -> "Untrained":
        """The start of a training on ``data``, which matters only where the weights are random."""
        return cls(recipe, data if recipe.student.draws_weights else None)

    @property
    def seed(self) -> int | None:
        """Of random weights; none where the weights are given."""
        return self.recipe.training.seed if self.recipe.student.draws_weights else None

    @cached_property
    def name(self) -> str:
        """By the student, and by all of the recipe and the images where the weights are random."""
        student = self.recipe.student
        facts = [student.arch, student.pooling, _weights(self.recipe, self._start)]
        if self.data is not None:
            facts += [self.recipe.digest(), self.data.digest()]
        return f"before-{digest_of_list(facts)[:16]}"

    @cached_property
    def _start(self) -> Contents:
        return _start_of(self.recipe)

    def require_unchanged(self) -> None:
        """See :class:`student_trainer.trials.cells.Making`."""
        self._start.require_unchanged()

    def checkpoint(self, folder: RunFolder) -> Path:
        """See :class:`student_trainer.trials.cells.Making`."""
        return folder.initial_student

    def make(self, folder: RunFolder) -> Outcome:
        """See :class:`student_trainer.trials.cells.Making`."""
        student = build_student(self.recipe)
        if self.data is not None:
            preprocessing = preprocessing_in_use(self.recipe)
            multiple_px = self.recipe.images.side_multiple_px
            store = open_store(folder.cache, self.data.images, preprocessing, side_multiple_px=multiple_px)
            seed, drawn_from = self.recipe.training.seed, self.recipe.student.drawn_from
            calibrate(student, store, preprocessing, seed, drawn_from=drawn_from)
        save_network(student, folder.initial_student)
        return Outcome()


@dataclass(frozen=True)
class Given:
    """A network from a file, such as the teacher."""

    file: Path
    network: str = "teacher"
    recipe: Recipe | None = None
    seed: int | None = None

    @cached_property
    def name(self) -> str:
        """By its bytes."""
        return f"{self.network}-{self._contents.digests[0][:16]}"

    @cached_property
    def _contents(self) -> Contents:
        return Contents((self.file,))

    def require_unchanged(self) -> None:
        """See :class:`student_trainer.trials.cells.Making`."""
        self._contents.require_unchanged()

    def checkpoint(self, folder: RunFolder) -> Path:
        """See :class:`student_trainer.trials.cells.Making`."""
        return self.file

    def make(self, folder: RunFolder) -> Outcome:
        """Nothing is to be done."""
        return Outcome()


def _start_of(recipe: Recipe) -> Contents:
    """The file that the student starts from; none where its weights are ImageNet's or random."""
    weights = recipe.student.weights
    return Contents(() if weights in (IMAGENET, RANDOM) else (Path(weights),))


def _weights(recipe: Recipe, start: Contents) -> str:
    """What the student starts from, by its bytes where it is a file."""
    return start.digests[0] if start.paths else recipe.student.weights


def _neighbours(recipe: Recipe, data: TrainingData) -> dict[str, float]:
    """tau, and how the images lie to each other above it; nothing for an objective without a threshold."""
    if data.teacher is None:
        return {}
    tau = fitted(recipe, data.teacher)[0].objective.settings.get(THRESHOLD)
    if not isinstance(tau, float):
        return {}
    _, above = neighbourhoods(data.teacher, tau)
    return {
        "tau": tau,
        "alone": float(np.mean(above == 0)),
        "neighbours": float(np.mean(above)),
        "crowded": float(np.mean(above >= NEARLY_ALL * (len(data) - 1))),
    }
