"""``k-center``: always the image that is farthest from all chosen so far.

In: descriptors, and what is chosen. Out: the additions, in order.

The greedy algorithm of Gonzalez (1985): no set of as many images leaves a candidate less than half as far
from its nearest chosen image (in Euclidean distance). Sener and Savarese, "Active Learning for
Convolutional Neural Networks: A Core-Set Approach" (2018), choose images for labelling so. It favours the
unusual, and with it the off-topic: look at what it chooses first.
"""

from collections.abc import Sequence

import numpy as np

from shared.vectors import Float32Rows


def k_center(rows: Float32Rows, chosen: Sequence[int], wanted: int) -> list[int]:
    """Farthest first; the very first is the seed's. Nested, also over what was chosen by another strategy.

    Ties go to the row that the seed draws first. Time: (chosen + wanted) products [n, d] x [d]; memory: [n].
    """
    nearest = np.full(len(rows), -np.inf, dtype=np.float32)
    for index in chosen:
        _cover(nearest, rows, index)
    added: list[int] = []
    for _ in range(wanted):
        # Unit rows: the farthest is the one with the smallest cosine to its nearest chosen row.
        index = int(np.argmin(nearest))
        added.append(index)
        _cover(nearest, rows, index)
    return added


def _cover(nearest: Float32Rows, rows: Float32Rows, index: int) -> None:
    """Count ``index`` as chosen; one at a time, so that growing gives the same bits as choosing at once."""
    np.maximum(nearest, rows @ rows[index], out=nearest)
    nearest[index] = np.inf
