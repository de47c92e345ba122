"""Spherical k-means: unit rows around unit centres, some of which may stand still.

In: rows, where the moving centres begin, and centres that stand still. Out: which centre each row belongs
to. After Dhillon and Modha, "Concept Decompositions for Large Sparse Text Data using Clustering" (2001); the
beginning after Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding" (2007). The same
input gives the same clusters.
"""

import numpy as np

from shared.vectors import Float32Rows
from student_trainer.acquire.selection.strategy import Indices, blocks

ROUNDS = 20
"""The last rounds move few rows; whole runs of hundreds would cost more than a better student is worth."""
SHORTEST_MEAN = 1e-6
"""Rows that cancel each other out have no mean direction; their centre stays where it was."""


def spread_start(rows: Float32Rows, fixed: Float32Rows, k: int) -> Float32Rows:
    """Where ``k`` moving centres begin: rows, each drawn by its squared distance to those before it.

    The fixed centres count as drawn. Rows come in an order that a seed has drawn, so this needs no seed.

    Returns:
        float32 [k, d]. Where all rows stand on a centre already, the first rows.
    """
    draws = np.random.Generator(np.random.PCG64(0)).random(k)
    nearest = np.full(len(rows), -1.0, dtype=np.float32)
    for first, block in blocks(rows, fixed) if len(fixed) else ():
        nearest[first : first + len(block)] = block.max(axis=1)
    drawn: list[int] = []
    for place, draw in enumerate(draws):
        total = np.maximum(1.0 - nearest, 0.0, dtype=np.float64).cumsum()  # half the squared distance
        row = int(np.searchsorted(total, draw * total[-1], side="right")) if total[-1] > 0 else place
        drawn.append(min(row, len(rows) - 1))
        np.maximum(nearest, rows @ rows[drawn[-1]], out=nearest)
        nearest[drawn[-1]] = 1.0  # exactly: rounding must not let it be drawn again
    return rows[drawn]


def k_means(
    rows: Float32Rows, start: Float32Rows, fixed: Float32Rows, rounds: int = ROUNDS
) -> tuple[Indices, Float32Rows]:
    """Cluster ``rows`` [n, d] around ``start`` [k, d], which moves, and ``fixed`` [f, d], which does not.

    A moving centre that no row belongs to takes the row that is farthest from its own centre, from a cluster
    that can spare one; so in the end each of the k holds at least one row. That needs n >= k.

    Returns:
        int64 [n], below k for a moving centre and k + j for the fixed centre j; and the moving centres,
        float32 [k, d].

    Raises:
        ValueError: fewer rows than moving centres.
    """
    if len(rows) < len(start):
        raise ValueError(f"{len(rows)} rows cannot fill {len(start)} clusters.")
    centres, owner = start.copy(), np.full(len(rows), -1, dtype=np.int64)
    for _ in range(rounds):
        before, owner = owner, _assign(rows, centres, fixed)
        if np.array_equal(before, owner):
            break
        centres = _means(rows, owner, centres)
    return owner, centres


def _assign(rows: Float32Rows, centres: Float32Rows, fixed: Float32Rows) -> Indices:
    """The nearest centre of each row, the first of equals; then empty clusters are filled."""
    everything = np.concatenate([centres, fixed])
    owner, cosine = np.empty(len(rows), dtype=np.int64), np.empty(len(rows), dtype=np.float32)
    for first, block in blocks(rows, everything):
        place = slice(first, first + len(block))
        owner[place] = block.argmax(axis=1)
        cosine[place] = block.max(axis=1)
    return _filled(owner, cosine, len(centres))


def _filled(owner: Indices, cosine: Float32Rows, k: int) -> Indices:
    """Move the loneliest rows into empty clusters, never the last row of a cluster that must not be empty."""
    sizes = np.bincount(owner, minlength=k)
    empty = np.flatnonzero(sizes[:k] == 0).tolist()
    loneliest_first = iter(np.argsort(cosine, kind="stable").tolist() if empty else ())
    for cluster in empty:
        row = next(row for row in loneliest_first if owner[row] >= k or sizes[owner[row]] > 1)
        sizes[owner[row]] -= 1
        sizes[cluster], owner[row] = 1, cluster
    return owner


def _means(rows: Float32Rows, owner: Indices, centres: Float32Rows) -> Float32Rows:
    """The mean direction of each moving cluster."""
    moving = np.flatnonzero(owner < len(centres))
    order = moving[np.argsort(owner[moving], kind="stable")]
    starts = np.searchsorted(owner[order], np.arange(len(centres)))
    sums = np.add.reduceat(rows[order], starts, axis=0)  # no cluster is empty, as reduceat demands
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > SHORTEST_MEAN, sums / np.maximum(lengths, SHORTEST_MEAN), centres)
