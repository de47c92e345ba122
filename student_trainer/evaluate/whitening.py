"""Learning a whitening: from descriptors alone by PCA, or from pairs of images that match.

In: descriptors of other images than those that are measured. Out: a
:class:`~shared.learned_whitening.LearnedWhitening`, x -> P (x - m), then L2. No I/O; files of whitenings are
read and written in ``shared.whitening_files``.
"""

import numpy as np
from numpy.typing import NDArray

from shared.learned_whitening import LearnedWhitening

SQUARE_ROOTED = 0.5
"""The power of an eigenvalue that a component is divided by: its square root gives all the same variance."""
ATTENUATED = 0.25
"""Half the way: the square root of that weight."""
_RANK_TOLERANCE = 1e-9
"""Eigenvalues below this part of the largest are rounding, not variance."""
_BLOCK_ROWS = 4096
"""Rows that are in float64 at a time."""


def learn_pca(
    rows: NDArray[np.floating], dims: int | None = None, power: float = SQUARE_ROOTED
) -> LearnedWhitening:
    """PCA whitening (Jegou and Chum 2012, Sec. 3): P = diag(lambda_1^-power ... lambda_dims^-power) E^T.

    lambda and E are the eigenvalues, in descending order, and eigenvectors of the covariance of ``rows``
    around their mean m. Laskar and Kannala (2020, Sec. 4) whiten with "the square rooted PCA" of that paper,
    which divides by the square roots of the eigenvalues: that is the default. Others call the square root of
    these weights so, lambda^-1/4: give ``power=ATTENUATED``.

    Args:
        rows: float [n, d], descriptors of other images.
        dims: dimensions to keep, the first ones; None for as many as have variance.
        power: 0 rotates and reduces only.

    Raises:
        ValueError: fewer than two rows, a value that is not finite, a power outside [0, 1], or more
            dimensions than the rows have variance in.
    """
    if rows.ndim != 2 or len(rows) < 2 or not np.isfinite(rows).all():
        raise ValueError(f"PCA needs at least 2 finite descriptors, got an array of shape {rows.shape}.")
    if not 0 <= power <= 1:
        raise ValueError(f"The power of the eigenvalues must lie in [0, 1], got {power}.")
    mean = rows.mean(axis=0, dtype=np.float64)
    values, vectors = _descending(_second_moment(rows, mean) / len(rows))
    rank = int(np.count_nonzero(values > _RANK_TOLERANCE * max(values[0], 0)))
    kept = rank if dims is None else dims
    if not 1 <= kept <= rank:
        raise ValueError(
            f"{len(rows):,} descriptors vary in {rank:,} dimensions, so a whitening cannot keep {kept:,}: "
            "learn it from more images, or keep fewer dimensions."
        )
    return LearnedWhitening(mean, (vectors[:, :kept] * values[:kept] ** -power).T)


def learn_from_pairs(
    rows: NDArray[np.floating], queries: NDArray[np.int64], positives: NDArray[np.int64]
) -> LearnedWhitening:
    """Whitening learned from matching pairs (Mikolajczyk and Matas 2007; Radenovic et al. 2018, Sec. 3.4).

    With S the covariance of the differences within pairs and S = L L^T: what varies within pairs is made
    white by L^-1; then E, the eigenvectors of all descriptors' second moment there, most variance first,
    rotates: P = E^T L^-1. m is the mean over ``queries``, each as often as it stands in a pair.

    Args:
        rows: float [n, d].
        queries: [P] indices of one image of each pair.
        positives: [P] of the other.

    Raises:
        ValueError: lists that do not fit, a value that is not finite, or pairs that differ in fewer than d
            dimensions.
    """
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(f"A whitening needs finite descriptors [n, d], got an array of shape {rows.shape}.")
    if queries.shape != positives.shape or queries.ndim != 1 or not len(queries):
        raise ValueError(f"Pairs are two lists of equal length, got {queries.shape} and {positives.shape}.")
    wide = rows.astype(np.float64)
    mean = wide[queries].mean(axis=0)
    differences = wide[queries] - wide[positives]
    try:
        within = np.linalg.inv(np.linalg.cholesky(differences.T @ differences / len(queries)))
    except np.linalg.LinAlgError:
        raise ValueError(
            f"{len(queries):,} pairs do not differ in all {rows.shape[1]:,} dimensions: a whitening of these "
            f"descriptors needs at least {rows.shape[1]:,} different pairs."
        ) from None
    _, vectors = _descending(_second_moment((wide - mean) @ within.T, np.zeros(rows.shape[1])))
    return LearnedWhitening(mean, vectors.T @ within)


def _second_moment(rows: NDArray[np.floating], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of (x - m) (x - m)^T in float64, without a copy of all rows in it."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _BLOCK_ROWS):
        part = rows[start : start + _BLOCK_ROWS] - mean
        total += part.T @ part
    return total


def _descending(symmetric: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues from the largest, eigenvectors in columns; each one's largest entry made positive."""
    values, vectors = np.linalg.eigh(symmetric)
    values, vectors = values[::-1], vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))]
    return values, vectors * np.where(largest < 0, -1.0, 1.0)
