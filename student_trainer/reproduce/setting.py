"""All that a run was given, opened.

In: the words of the command line, and what they named. Out: a :class:`Setting`, that tables are planned on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.extraction import describe
from shared.vectors import Float32Rows
from student_trainer.acquire.selection.network import open_eye
from student_trainer.distil.data import TrainingData
from student_trainer.recipe import Recipe
from student_trainer.reproduce.arguments import Arguments
from student_trainer.reproduce.measures import MeasurePair
from student_trainer.reproduce.pool import Pool


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
    measures: Mapping[str, MeasurePair]
    """By what a table's ``measures`` names."""
    _seen: dict[str, Float32Rows] = field(default_factory=dict, repr=False)

    @property
    def seeds(self) -> Sequence[int]:
        """Of the trainings: the recipe's, and those that follow it."""
        first = next(iter(self.students.values())).training.seed
        return range(first, first + self.given.seeds)

    def look(self, recipe: Recipe) -> Float32Rows:
        """All bought images as the recipe's student describes them before it learns, [n, d]; done once."""
        assert self.pool is not None
        key = recipe.digest()
        if key not in self._seen:
            paths = [image.path for image in self.pool.data.images]
            size_px, device = recipe.images.longest_side_px, recipe.training.device
            self._seen[key] = describe(open_eye(recipe).network, paths, size_px, device=device)
        return self._seen[key]
