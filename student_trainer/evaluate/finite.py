"""Refuses descriptors that are not numbers: what weights that diverged, or overflow, give.

In: descriptors, and what they are of. Out: nothing, or the refusal.
"""

from collections.abc import Sequence

import numpy as np

from shared.vectors import Float32Rows
from student_trainer.errors import InvalidInput


def require_finite(rows: Float32Rows, images: Sequence[object], model: str) -> None:
    """Raises InvalidInput where one of the descriptors [n, d] of n images holds NaN or infinity.

    The message names ``model``, counts such images and names the first.
    """
    wrong = ~np.isfinite(rows).all(axis=1)
    if wrong.any():
        raise InvalidInput(
            f"{model} gives no finite descriptor for {int(wrong.sum()):,} images, the first "
            f"{images[int(np.argmax(wrong))]}: its weights are of no use for these images."
        )
