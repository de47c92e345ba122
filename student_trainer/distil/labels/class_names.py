"""From the labels of a manifest to class numbers, and which name each number stands for.

In: a label for each image, several, or none. Out: class numbers or multi-hot rows, and the classes' names.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from student_trainer.datasets.manifest import Label
from student_trainer.distil.labels import UNLABELLED


@dataclass(frozen=True)
class Classes:
    """The labels of n images."""

    numbers: NDArray[np.int64]
    """[n], ``UNLABELLED`` where an image has no label; if some image has several, multi-hot [n, C], a row of
    zeros where one has none."""
    names: tuple[str, ...]
    """C of them, in ascending order."""


def classes_of(labels: Sequence[Label | None]) -> Classes:
    """Number the labels in ascending order of their names."""
    several = any(isinstance(label, tuple) for label in labels)
    sets = [_names(label) for label in labels]
    classes = tuple(sorted(set().union(*sets)))
    place = {name: number for number, name in enumerate(classes)}
    if not several:
        return Classes(np.array([place[min(own)] if own else UNLABELLED for own in sets], np.int64), classes)
    rows = np.zeros((len(sets), len(classes)), np.int64)
    for row, own in enumerate(sets):
        rows[row, [place[name] for name in own]] = 1
    return Classes(rows, classes)


def _names(label: Label | None) -> set[str]:
    if label is None:
        return set()
    return {label} if isinstance(label, str) else set(label)
