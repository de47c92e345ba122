"""Labels of images as objectives take them: one class number an image, or several as a multi-hot row.

In: whole numbers [B] with -1 where there is no label, or [B, classes] of zeros and ones. Out: the same,
checked; who has a label, and who shares one with whom.
"""

from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from student_trainer.errors import InvalidInput

UNLABELLED = -1
"""The class number of an image without a label; no other number is below 0."""


def checked_labels(labels: Tensor | None, images: int, objective: str, *, several: bool = False) -> Tensor:
    """The labels that an objective of that name needs, of ``images`` images.

    Args:
        labels: class numbers of any whole type, [B].
        images: B.
        objective: for the message.
        several: multi-hot rows [B, classes] will do too.

    Returns:
        Class numbers as long [B], or multi-hot rows as they came.

    Raises:
        InvalidInput: there are none, or they are neither class numbers nor multi-hot rows of these images.
    """
    wanted = f"long [{images}]" + (f" or multi-hot [{images}, classes]" if several else "")
    if labels is None:
        raise InvalidInput(f"The objective {objective} needs labels, {wanted}, but got none.")
    fits = labels.ndim == 1 or (several and labels.ndim == 2)
    number = not (labels.is_floating_point() or labels.is_complex() or _is_flags(labels))
    if not (fits and number and len(labels) == images):
        raise InvalidInput(
            f"The objective {objective} needs labels, {wanted}, but got shape {list(labels.shape)} and type "
            f"{labels.dtype}."
        )
    lowest, highest = lowest_and_highest(labels)
    if lowest < (0 if labels.ndim == 2 else UNLABELLED) or (labels.ndim == 2 and highest > 1):
        raise InvalidInput(
            f"The objective {objective} got labels from {lowest} to {highest}: class numbers count from 0 "
            f"({UNLABELLED} for none), and multi-hot rows are of zeros and ones."
        )
    return labels.long() if labels.ndim == 1 else labels


def lowest_and_highest(labels: Tensor | NDArray[np.int64]) -> tuple[int, int]:
    """Of the numbers; 0 and 0 where there are none."""
    if 0 in labels.shape:
        return 0, 0
    return int(labels.min()), int(labels.max())


@overload
def has_label(labels: Tensor) -> Tensor: ...


@overload
def has_label(labels: NDArray[np.int64]) -> NDArray[np.bool_]: ...


def has_label(labels: Tensor | NDArray[np.int64]) -> Tensor | NDArray[np.bool_]:
    """bool [B]: who has a label at all."""
    return labels != UNLABELLED if labels.ndim == 1 else (labels != 0).any(1)


def share_a_label(labels: Tensor) -> Tensor:
    """bool [B, B]: who has a label in common with whom; asked of labelled images alone."""
    if labels.ndim == 1:
        return labels[:, None] == labels[None, :]
    hot = labels.float()
    return hot @ hot.T > 0


def _is_flags(labels: Tensor) -> bool:
    """Yes and no are no class numbers; in a multi-hot row they are what is meant."""
    return labels.ndim == 1 and labels.dtype == torch.bool
