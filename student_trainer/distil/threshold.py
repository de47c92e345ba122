"""``tau = "auto"``: the threshold that fits what the teacher said of the images at hand.

In: bought descriptors. Out: a :class:`Threshold` with the sentence that says how it came about, and the
recipe with the number in place of the word.

The paper's 0.75 belongs to its teacher. Another one may find any two photographs more similar than that, or
none. What carries over is how many images are relevant to each other: too few, and there is nothing to be
ranked first; too many, and positives are no nearer than chance. Hence the rule: the largest threshold above
which at least half of the images have five others. On sets below 51 images it is fewer than five, at most a
tenth of the others.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from student_trainer.distil.similarities import similarity_blocks
from student_trainer.recipe import Recipe
from student_trainer.recipe_checks import AUTO, THRESHOLD
from student_trainer.recipe_sections import ObjectiveSection

NEIGHBOURS = 5
"""Above the three of the paper's sparse set (Table 7), on which lowering the threshold did harm."""
SHARE = 0.5
"""Of the images that have them; the others may be loners without pulling the threshold down to theirs."""
LOWEST, HIGHEST = 0.0, 0.999
"""Below 0 nothing is similar; at 1 not even an image would be similar to itself."""

_MOST_OF_OTHERS = 10
_MARGIN = 1e-4
"""Below the similarity that decides, so that the rounding of another machine changes nothing."""


@dataclass(frozen=True)
class Threshold:
    """A choice of tau, and what it was chosen by."""

    tau: float
    """In thousandths."""
    images: int
    neighbours: int
    """Others above tau that were asked for."""
    reached: int
    """Images that have so many."""

    def sentence(self) -> str:
        """How it was chosen, for people."""
        others = "1 other" if self.neighbours == 1 else f"{self.neighbours} others"
        rule = (
            f"the largest (in thousandths, {LOWEST:g} to {HIGHEST:g}) above which at least "
            f"{SHARE:.0%} of the {self.images:,} images have {others}"
        )
        if self.reached < _wanted(self.images):
            return (
                f"{THRESHOLD} = {self.tau:g}, the lowest that is chosen: wished for was {rule}, "
                f"but even here only {self.reached:,} have."
            )
        return (
            f"{THRESHOLD} = {self.tau:g}, chosen from the teacher's own similarities: {rule}; "
            f"{self.reached:,} have."
        )


def choose(teacher: NDArray[np.float32]) -> Threshold:
    """The threshold for descriptors [n, D], rows of any length but zero.

    Time: one product [n, D] x [D, n], in blocks of rows.

    Raises:
        ValueError: fewer than two rows, which have no similarity.
    """
    images = len(teacher)
    if images < 2:
        raise ValueError(f"A threshold is chosen from at least 2 descriptors, got {images}.")
    neighbours = max(1, min(NEIGHBOURS, (images - 1) // _MOST_OF_OTHERS))
    nearest = np.sort(_kth_nearest(teacher, neighbours))[::-1]
    deciding = float(nearest[_wanted(images) - 1])
    tau = math.floor((deciding - _MARGIN) * 1000) / 1000
    tau = min(max(tau, LOWEST), HIGHEST)
    return Threshold(tau, images, neighbours, int(np.count_nonzero(nearest > tau)))


def fitted(recipe: Recipe, teacher: NDArray[np.float32] | None) -> tuple[Recipe, Threshold | None]:
    """The recipe with a number for tau; as it is, and None, where it asks for no choice."""
    if recipe.objective.settings.get(THRESHOLD) != AUTO or teacher is None:
        return recipe, None
    chosen = choose(teacher)
    return with_threshold(recipe, chosen.tau), chosen


def with_threshold(recipe: Recipe, tau: float) -> Recipe:
    """The recipe with this tau."""
    settings = {"name": recipe.objective.name, **recipe.objective.settings, THRESHOLD: tau}
    return recipe.model_copy(update={"objective": ObjectiveSection.model_validate(settings)})


def _wanted(images: int) -> int:
    return math.ceil(SHARE * images)


def _kth_nearest(teacher: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """Of each row its cosine to the k-th most similar other row, [n]."""
    found = [np.partition(block, -k, axis=1)[:, -k] for block in similarity_blocks(teacher)]
    return np.concatenate(found).astype(np.float64)
