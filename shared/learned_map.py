"""The linear map from a student's space into the teacher's, with the least squared error on some images.

In: descriptors of the same images by both. Out: the map, and how well maps do on images that they were not
learned from. No I/O.
"""

import numpy as np
from numpy.typing import NDArray

from shared.learned_whitening import LearnedWhitening

RIDGE = 0.01
"""Weight of the penalty, relative to the mean variance of the student's dimensions."""
HELD_BACK_EVERY = 5
"""One image of so many judges a map that was learned from the others."""


def learn_projection(
    student: NDArray[np.floating], teacher: NDArray[np.floating], ridge: float = RIDGE
) -> LearnedWhitening:
    """The linear map P with the least sum of |P s - t|^2 over the images, plus a ridge; no mean is taken off.

    Args:
        student: float [n, d], descriptors of some images.
        teacher: float [n, D], of the same images; brought to length 1 here, so that each image counts alike
            where a service rounds what it sells.
        ridge: relative to the mean variance of the student's dimensions; keeps few images from being learned
            by heart.

    Raises:
        ValueError: no images, or numbers of them that differ.
    """
    if not len(student) or len(student) != len(teacher):
        raise ValueError(f"{len(student)} student and {len(teacher)} teacher descriptors are no pairs.")
    wide = student.astype(np.float64)
    moment = wide.T @ wide
    moment += ridge * np.trace(moment) / len(moment) * np.eye(len(moment))
    projection = np.linalg.solve(moment, wide.T @ _units(teacher)).T
    return LearnedWhitening(np.zeros(student.shape[1]), projection.astype(np.float64))


def held_back_cosine(
    student: NDArray[np.floating], teacher: NDArray[np.floating]
) -> tuple[int, float | None]:
    """How close a map comes to the teacher on images that it has not seen: every fifth is held back.

    Args:
        student: float [n, d], of images in any order.
        teacher: float [n, D], of the same images.

    Returns:
        Images held back, and the mean cosine between the student's rows, taken across by the map of the
        other images, and the teacher's; 0 and None for fewer than five images.
    """
    judges = np.arange(len(student)) % HELD_BACK_EVERY == HELD_BACK_EVERY - 1
    if not judges.any():
        return 0, None
    crossed = learn_projection(student[~judges], teacher[~judges]).apply(student[judges].astype(np.float32))
    return int(judges.sum()), float((crossed * _units(teacher[judges])).sum(axis=1).mean())


def _units(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows of length 1; one of zeros stays as it is."""
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    units: NDArray[np.float64] = wide / np.where(lengths > 0, lengths, 1)
    return units
