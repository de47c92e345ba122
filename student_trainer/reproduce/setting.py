"""All that a run was given, opened.

In: the words of the command line, and what they named. Out: a :class:`Setting`, that tables are planned on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.vectors import Float32Rows
from student_trainer.distil.data import TrainingData
from student_trainer.distil.eye import open_eye
from student_trainer.distil.images import require_unchanged
from student_trainer.recipe import Recipe
from student_trainer.reproduce.arguments import Arguments
from student_trainer.reproduce.pool import Pool
from student_trainer.reproduce.yardsticks import Yardsticks


@dataclass(frozen=True)
class Setting:
    """What a run has to work with."""

    given: Arguments
    students: Mapping[str, Recipe]
    """Architecture -> the recipe that every row starts from."""
    pool: Pool | None
    """What was bought; with labels where they are known of all images."""
    labelled: TrainingData | None
    """All labelled training images."""
    no_labels: str
    """Why there are no labels, or none of the bought images."""
    measured: Yardsticks
    """What tables are measured by, and which images that are."""
    _seen: dict[str, Float32Rows] = field(default_factory=dict, repr=False)

    @property
    def seeds(self) -> Sequence[int]:
        """Of the trainings: the recipe's, and those that follow it."""
        first = next(iter(self.students.values())).training.seed
        return range(first, first + self.given.seeds)

    def look(self, recipe: Recipe) -> Float32Rows:
        """All bought images as ``plan --selection`` would describe them with this recipe, [n, d]; done once.

        Raises:
            InvalidInput: an image cannot be read any more or is not the one that was bought, or the network
                gives no finite descriptor.
        """
        assert self.pool is not None
        key = recipe.digest()
        if key not in self._seen:
            candidates = self.pool.planned
            look = open_eye(recipe).on(candidates, None, lambda images: None)
            rows = look(candidates)
            require_unchanged(self.pool.data.images)
            self._seen[key] = rows
        return self._seen[key]
