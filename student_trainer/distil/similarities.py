"""How similar the bought descriptors are to one another, in bounded memory.

In: the teacher's descriptors [n, D]. Out: of each its nearest and how many are near; the median; or all, some
rows at a time.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_MEDIAN_ROWS = 2_000
_SIMILARITY_BLOCK_ROWS = 1024


def neighbourhoods(
    teacher: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Of each row of [n, D]: its cosine to the most similar other row, and how many are above ``threshold``.

    Returns:
        float32 [n], -1 where a row is alone; int64 [n].
    """
    # One pass: the products are the cost of it.
    found = [(block.max(axis=1), (block > threshold).sum(axis=1)) for block in similarity_blocks(teacher)]
    nearest, above = zip(*found, strict=True)
    return np.concatenate(nearest), np.concatenate(above)


def median_similarity(teacher: NDArray[np.float32]) -> float:
    """Median cosine of two different rows of [n, D], n >= 2; of many rows, an even selection is looked at."""
    sample = teacher[:: 1 + (len(teacher) - 1) // _MEDIAN_ROWS]
    pairs = np.concatenate(list(similarity_blocks(sample)))[np.triu_indices(len(sample), k=1)]
    return float(np.median(pairs))


def similarity_blocks(teacher: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """The cosines of all rows to all rows, some rows at a time; a row to itself is -1."""
    rows = teacher / np.linalg.norm(teacher, axis=1, keepdims=True)
    for start in range(0, len(rows), _SIMILARITY_BLOCK_ROWS):
        block = rows[start : start + _SIMILARITY_BLOCK_ROWS]
        similarity = block @ rows.T
        similarity[np.arange(len(block)), np.arange(start, start + len(block))] = -1.0
        yield similarity
