"""Rankings of a database by similarity, and the measures of one query's ranking.

In: float32 unit descriptors; then, for one query, the 0-based ranks of its positives. Out: database
indices best first; average precision in its two usual forms, precision and recall at k. No I/O.

Two average precisions are in use and differ by a few points on the same ranking; they are kept apart
by name everywhere: ``ap_step`` (a sum of precisions at each positive; scikit-learn's) and
``ap_trapezoid`` (the area under straight lines; the one of the Oxford and Paris benchmarks).

Ties: database images of equal float32 similarity stand in the order of their database index. Images of
bit-equal descriptors always tie.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float32Rows = NDArray[np.float32]
Ranks = NDArray[np.int64]

BLOCK_BYTES = 64 * 2**20
"""Working memory of one block of queries: similarities (4 bytes each) and their order (8)."""
BYTES_PER_PAIR = 12


def rank(queries: Float32Rows, database: Float32Rows) -> Ranks:
    """Rank the database for every query by dot product.

    Args:
        queries: [Q, d], unit rows.
        database: [N, d], unit rows.

    Returns:
        int64 [N, Q]: column q holds database indices, best first; ties by database index.

    Raises:
        ValueError: shapes that do not fit, or a descriptor with NaN or infinity.
    """
    order = np.empty((len(queries), len(database)), dtype=np.int64)
    for start, block in rank_blocks(queries, database):
        order[start : start + len(block)] = block
    return order.T


def rank_blocks(queries: Float32Rows, database: Float32Rows) -> Iterator[tuple[int, Ranks]]:
    """:func:`rank` in bounded memory: (index of the first query, int64 [rows, N] orders), query by row.

    Raises:
        ValueError: as :func:`rank`.
    """
    left, right = _checked("Query", queries), _checked("Database", database)
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"Queries have {left.shape[1]} dimensions, the database {right.shape[1]}.")
    rows = max(1, BLOCK_BYTES // (BYTES_PER_PAIR * max(1, len(right))))
    copies, firsts = _copies(right)
    for start in range(0, len(left), rows):
        similarity = left[start : start + rows] @ right.T
        # A product of matrices may round the same row differently in another place.
        similarity[:, copies] = similarity[:, firsts]
        np.negative(similarity, out=similarity)
        yield start, np.argsort(similarity, axis=1, kind="stable")


def _copies(rows: Float32Rows) -> tuple[Ranks, Ranks]:
    """Places of rows that are bit for bit an earlier one, and of the first such one."""
    first: dict[bytes, int] = {}
    firsts = np.array(
        [first.setdefault(hashlib.sha256(row).digest(), place) for place, row in enumerate(rows)],
        dtype=np.int64,
    )
    copies = np.flatnonzero(firsts != np.arange(len(rows)))
    return copies, firsts[copies]


def ap_step(ranks_of_positives: ArrayLike, n_positives: int) -> float:
    """Average precision as a step function: the mean over positives of the precision at each.

    Equals ``sklearn.metrics.average_precision_score`` on scores without ties.

    Args:
        ranks_of_positives: 0-based, in any order; positives that were not retrieved are left out.
        n_positives: how many there are in all, at least 1.

    Raises:
        ValueError: no positives, or ranks that are impossible.
    """
    ranks = _checked_ranks(ranks_of_positives, n_positives)
    found = np.arange(1, len(ranks) + 1)
    return float(np.sum(found / (ranks + 1)) / n_positives)


def ap_trapezoid(ranks_of_positives: ArrayLike, n_positives: int) -> float:
    """Average precision by the trapezoidal rule, as the Oxford and Paris benchmarks define it.

    Positive j (from 0) at 0-based rank r adds (p0 + p1) / 2N, where p0 = j / r (1 if r = 0) is the
    precision just before it and p1 = (j + 1) / (r + 1) the precision at it.

    Args and errors: as :func:`ap_step`.
    """
    ranks = _checked_ranks(ranks_of_positives, n_positives)
    found = np.arange(len(ranks))
    before = np.where(ranks == 0, 1.0, found / np.maximum(ranks, 1))
    at = (found + 1) / (ranks + 1)
    return float(np.sum(before + at) / (2 * n_positives))


def precision_at_k(ranks_of_positives: ArrayLike, k: int) -> float:
    """Share of positives among the first k' images, k' = min(k, 1-based rank of the last positive).

    The cut at the last positive (Radenovic et al. 2018, mP@k) keeps a query with few positives from
    being punished for having few.

    Raises:
        ValueError: no positives, k below 1, or ranks that are impossible.
    """
    ranks = _checked_ranks(ranks_of_positives, None)
    if k < 1 or not len(ranks):
        raise ValueError(f"Precision at k needs k of at least 1 and a positive, got k = {k}, {len(ranks)}.")
    cut = min(int(ranks[-1]) + 1, k)
    return float(np.count_nonzero(ranks < cut) / cut)


def recall_at_k(ranks_of_positives: ArrayLike, k: int) -> float:
    """1 if a positive stands among the first k images, else 0: recall@k as retrieval papers report it.

    Raises:
        ValueError: k below 1, or ranks that are impossible.
    """
    ranks = _checked_ranks(ranks_of_positives, None)
    if k < 1:
        raise ValueError(f"Recall at k needs k of at least 1, got {k}.")
    return float(len(ranks) > 0 and ranks[0] < k)


def _checked(name: str, descriptors: Float32Rows) -> Float32Rows:
    if descriptors.ndim != 2:
        raise ValueError(f"{name} descriptors must be [n, d], got shape {descriptors.shape}.")
    finite = np.isfinite(descriptors).all(axis=1)
    if not finite.all():
        raise ValueError(f"{name} descriptor {int(np.argmin(finite))} holds NaN or infinity.")
    return np.ascontiguousarray(descriptors, dtype=np.float32)


def _checked_ranks(ranks_of_positives: ArrayLike, n_positives: int | None) -> Ranks:
    ranks = np.sort(np.asarray(ranks_of_positives, dtype=np.int64).reshape(-1))
    if len(ranks) and (ranks[0] < 0 or (np.diff(ranks) == 0).any()):
        raise ValueError(f"Ranks must be distinct and not negative, got {ranks[:10].tolist()}.")
    if n_positives is not None and n_positives < max(1, len(ranks)):
        raise ValueError(
            f"{len(ranks)} ranks of {n_positives} positives: a query needs at least one positive, "
            "and no more ranks than positives. Leave queries without positives out of the mean."
        )
    return ranks
