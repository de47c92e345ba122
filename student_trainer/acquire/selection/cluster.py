"""``cluster``: as many clusters as images are wanted, and of each the image nearest to its centre.

In: descriptors, and what is chosen. Out: the additions, one of each cluster, the largest cluster first.

Where k-center goes to the edges, a medoid stands for many images. Not nested: other numbers give other
clusters. Growing still keeps what is chosen: those images are centres that stand still, and the new
clusters form around what they leave.
"""

from collections.abc import Sequence

import numpy as np

from shared.vectors import Float32Rows
from student_trainer.acquire.selection.k_means import k_means, spread_start
from student_trainer.acquire.selection.strategy import Indices, free_rows


def cluster(rows: Float32Rows, chosen: Sequence[int], wanted: int) -> list[int]:
    """Medoids of ``wanted`` clusters, which begin apart from one another and from what is chosen.

    Time: at most 21 products [n, d] x [d, chosen + wanted]; memory: the rows once more.
    """
    free = free_rows(len(rows), chosen)
    if wanted == 0:
        return []
    candidates = rows[free]
    fixed = rows[list(chosen)]
    owner, centres = k_means(candidates, spread_start(candidates, fixed, wanted), fixed)
    medoids, sizes = _medoids(candidates, owner, centres)
    largest_first = np.argsort(-sizes, kind="stable")
    return [int(index) for index in free[medoids[largest_first]]]


def _medoids(rows: Float32Rows, owner: Indices, centres: Float32Rows) -> tuple[Indices, Indices]:
    """For each centre the place of its nearest member, the first of equals, and the number of its members."""
    members = np.flatnonzero(owner < len(centres))
    cosine = np.einsum("nd,nd->n", rows[members], centres[owner[members]])
    order = np.lexsort((members, -cosine, owner[members]))
    first = np.searchsorted(owner[members][order], np.arange(len(centres)))
    return members[order][first], np.bincount(owner[members], minlength=len(centres))
