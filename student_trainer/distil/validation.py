"""Watching a training without labels: bought images that are held back, and how the student ranks them.

In: a recipe with a ``[validation]`` share, and bought descriptors. Out: which rows are never trained on, and
after an epoch the overlap and AP of the student's ranking of these against the teacher's.

Nothing is drawn at random while training goes, and no weight or statistic is touched, so a training that is
watched ends at the same weights as one that learned from the same rows unwatched.
"""

from dataclasses import dataclass

import numpy as np

from shared.batch_norm import modes_kept
from shared.digest import sha256_hex
from shared.network import DescriptorNet
from student_trainer.distil.backward import BadNumbers, describe_without_graph
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.data import TrainingData
from student_trainer.distil.label_free import LabelFreeScores, score
from student_trainer.distil.threshold import choose
from student_trainer.errors import InvalidInput, TrainingFailed
from student_trainer.naming import some_names
from student_trainer.recipe import Recipe
from student_trainer.recipe_checks import THRESHOLD

K = 10
LEAST = 2 * K
"""Of fewer images the ten nearest would be most of them, for any student."""


@dataclass(frozen=True)
class Validation:
    """Held-back images, and from where on the teacher's neighbours count as relevant."""

    source: BatchSource
    tau: float

    @classmethod
    def of(cls, source: BatchSource, recipe: Recipe) -> "Validation":
        """At the tau that is trained with; the one that fits these images where the objective has none."""
        tau = recipe.objective.settings.get(THRESHOLD)
        if tau is None:
            assert source.data.teacher is not None
            tau = choose(source.data.teacher).tau
        return cls(source, float(tau))

    def scores(self, student: DescriptorNet) -> LabelFreeScores:
        """How the student ranks the held-back images as it is now; it is left as it was.

        Raises:
            TrainingFailed: a descriptor is zero or not finite; names the images.
        """
        rows = np.arange(len(self.source.data))
        try:
            with modes_kept(student):
                student.eval()
                found = describe_without_graph(
                    student, lambda: self.source.chunks(rows), len(rows), self.source.processes
                )
        except BadNumbers as error:
            names = some_names(self.source.names(rows, error.rows))
            raise TrainingFailed(f"On held-back images: {error.what}; look at {names}.") from None
        teacher = self.source.data.teacher
        assert teacher is not None
        return score(found.cpu().numpy(), teacher, K, self.tau)


def hold_back(recipe: Recipe, data: TrainingData) -> tuple[list[int], list[int]]:
    """Split rows: (to learn from, never to be trained on), each in order.

    Which are held back depends on ``training.seed`` and the images' bytes, not on their order.

    Raises:
        InvalidInput: a share is to be held back, but there are no bought descriptors or too few.
    """
    share = recipe.validation.share
    if not share:
        return list(range(len(data))), []
    if data.teacher is None:
        raise InvalidInput(
            "Validation compares with the teacher's ranking, and there are no bought descriptors: "
            "--set validation.share=0, and measure with: student-trainer evaluate"
        )
    count = held_back_count(recipe, len(data))
    if count < LEAST:
        raise InvalidInput(
            f"validation.share = {share:g} of {len(data):,} images holds back {count}, and at least {LEAST} "
            f"are needed. Raise it (at most 0.5), buy more images, or turn it off: --set validation.share=0"
        )
    seed = recipe.training.seed
    draws = [sha256_hex(f"validation {seed}:{image.digest}".encode()) for image in data.images]
    held = set(sorted(range(len(data)), key=draws.__getitem__)[:count])
    return [row for row in range(len(data)) if row not in held], sorted(held)


def held_back_count(recipe: Recipe, images: int) -> int:
    """How many of so many images the recipe holds back."""
    return round(recipe.validation.share * images)


def is_due(recipe: Recipe, epoch: int) -> bool:
    """Every so many epochs, and after the last."""
    return epoch % recipe.validation.every_epochs == 0 or epoch == recipe.training.epochs
