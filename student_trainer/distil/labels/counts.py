"""Whether labels can teach an objective anything: how many there are, and how many images each has.

In: class numbers or multi-hot rows. Out: their counts; a refusal; or a sentence for people.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from student_trainer.distil.labels.of_batch import has_label
from student_trainer.errors import InvalidInput

if TYPE_CHECKING:
    from student_trainer.distil.objectives import Objective

LEAST_LABELS = 2
"""With one alone every image is like every other."""


@dataclass(frozen=True)
class LabelCounts:
    """Of images, some of which may be without a label."""

    images: int
    """That have one."""
    labels: int
    """That some image has."""
    with_one_image: int
    """Labels of a single image."""

    @classmethod
    def of(cls, labels: NDArray[np.int64]) -> "LabelCounts":
        """Of class numbers [n], -1 where there is none, or multi-hot rows [n, C]."""
        labelled = labels[has_label(labels)]
        if labels.ndim == 1:
            _, counts = np.unique(labelled, return_counts=True)
        else:
            counts = np.count_nonzero(labelled, axis=0)
        return cls(len(labelled), int((counts > 0).sum()), int((counts == 1).sum()))


def check_enough(objective: "Objective", labels: NDArray[np.int64]) -> None:
    """Refuse labels from which the objective, which needs some, can learn nothing.

    One that draws its own tuples is judged where they are drawn.

    Raises:
        InvalidInput: there are fewer than two, or it learns from images of one label and none has two.
    """
    if objective.mining is not None:
        return
    found = LabelCounts.of(labels)
    if found.labels < LEAST_LABELS:
        lack = f"at least {LEAST_LABELS} labels, and there are {found.labels}"
    elif learns_from_positives(objective) and found.with_one_image == found.labels:
        lack = f"a label with two images or more, and each of {found.labels:,} labels has a single one"
    else:
        return
    raise InvalidInput(
        f"The objective {objective.name!r} needs {lack} among {found.images:,} labelled images: nothing "
        "could be learned from them. Label more images, or choose an objective that learns without labels."
    )


def learns_from_positives(objective: "Objective") -> bool:
    """Whether two images of a label teach it what one does not.

    What has to know how many classes there are has a target for each, and needs no second image.
    """
    return objective.needs_labels and not objective.facts.wants_classes


def single_images(labels: int) -> str | None:
    """What so many labels with a single image are good for; None where there are none."""
    if not labels:
        return None
    return (
        f"Labels with a single image: {labels:,}. Such an image can be a negative, and neither an anchor nor "
        "a positive."
    )
