"""What has been measured about sets of images like this one, said before training.

In: a recipe, and how many of the bought images have a neighbour above tau. Out: a sentence for a recipe that
did worse than another on such images, or None.

The measurements are those of ``docs/results.md``, one collection of photographs; so this advises and does not
decide. What a set looks like is told by the share of its images that have no other above the threshold.
"""

from student_trainer.distil.preflight import Neighbours
from student_trainer.recipe import Recipe
from student_trainer.recipe_checks import AUTO, THRESHOLD

MIXED = "rank-mixup"


def advice(recipe: Recipe, found: Neighbours | None) -> str | None:
    """What did better, for a training with mixing; None for other objectives, or where nothing is known.

    Args:
        recipe: with its threshold as a number.
        found: of the images that are trained on; None where the objective has no threshold.
    """
    if found is None or recipe.objective.name != MIXED:
        return None
    if recipe.objective.settings.get("grad_through_mixed"):
        return _measured("gradient through mixtures did harm", "--set objective.grad_through_mixed=false")
    if 2 * found.alone > found.images:
        better = (
            f"--objective rank, or --set objective.label_mixed=false, with --set objective.{THRESHOLD}={AUTO}"
        )
        return _measured("so sparse a set taught more at a lower threshold", better)
    return _measured("plain ranking learned as much as mixing or more, from 500 to 2,000", "--objective rank")


def _measured(what: str, instead: str) -> str:
    return f"On photographs of landmarks {what} (docs/results.md); to compare: {instead}."
