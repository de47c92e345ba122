"""Labels of a batch as its objectives take them: one class number an image, or several as a multi-hot row.

In: long [B] with -1 where there is none, or [B, classes] of zeros and ones. Out: who has a label, and who
shares one with whom.
"""

from torch import Tensor

from student_trainer.distil.labels import UNLABELLED
from student_trainer.errors import InvalidInput


def checked_labels(labels: Tensor | None, images: int, name: str) -> Tensor:
    """The labels that the objective ``name`` needs, of ``images`` images.

    Raises:
        InvalidInput: there are none, or they are neither class numbers nor multi-hot rows.
    """
    if labels is None:
        raise InvalidInput(
            f"The objective {name} needs labels, long [{images}] or multi-hot [{images}, classes], but got "
            "none."
        )
    if labels.is_floating_point() or labels.ndim not in (1, 2) or len(labels) != images:
        raise InvalidInput(
            f"The objective {name} needs labels, long [{images}] or multi-hot [{images}, classes], but got "
            f"shape {list(labels.shape)} and type {labels.dtype}."
        )
    lowest, highest = (0, 1) if labels.ndim == 2 else (UNLABELLED, None)
    if labels.numel() and (labels.min() < lowest or (highest is not None and labels.max() > highest)):
        raise InvalidInput(
            f"The objective {name} got labels from {int(labels.min())} to {int(labels.max())}: class numbers "
            f"count from 0 ({UNLABELLED} for none), and multi-hot rows are of zeros and ones."
        )
    return labels


def has_label(labels: Tensor) -> Tensor:
    """bool [B]: who has a label at all."""
    return labels.bool().any(dim=1) if labels.ndim == 2 else labels != UNLABELLED


def share_a_label(labels: Tensor) -> Tensor:
    """bool [B, B]: who has a label in common with whom; asked of labelled images alone."""
    if labels.ndim == 1:
        return labels[:, None] == labels[None, :]
    hot = labels.float()
    return hot @ hot.T > 0
