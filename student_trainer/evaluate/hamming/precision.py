"""Average precision of rankings with ties: its mean over all orders of the images at equal distance.

In: for each query, how many images stand at each distance, and how many of these are relevant. Out: average
precision, of the whole ranking or of its first k images.

Codes of K bits know K + 1 distances, so most images of a ranking tie. An order among them would be an
accident of the manifest (or of a sort), worth several points. The mean over all orders has a closed form.
Source of the idea and of the form for whole rankings: McSherry and Najork, "Computing Information Retrieval
Performance Measures Efficiently in the Presence of Tied Scores" (2008).

Of n images at one distance r are relevant; N images and R relevant ones are nearer. The j-th of the n is
relevant with probability r/n, and then (j-1)(r-1)/(n-1) of those before it in the tie are, so the tie adds
    sum_{j=1..n} r/n (R + 1 + (j-1)(r-1)/(n-1)) / (N + j)
which is r/n ((R + 1) A + (r-1)/(n-1) (n - (N + 1) A)) with A = sum_j 1/(N + j), a difference of harmonic
numbers.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_EXACT = 64
"""Harmonic numbers up to here are summed; beyond, their asymptotic series is exact to rounding."""
_HARMONIC = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, _EXACT + 1))])


def tie_aware_ap(images: Integers, relevant: Integers) -> Floats:
    """The step average precision of whole rankings, the last image included: float64 [Q].

    Args:
        images: [Q, D], how many stand at each of D distances, the nearest first.
        relevant: [Q, D], how many of these are relevant.

    Returns:
        The mean over all orders of tied images; NaN where a query has no relevant image.

    Raises:
        ValueError: shapes that differ, or more relevant images than images.
    """
    _check(images, relevant)
    total = relevant.sum(axis=1)
    ap: Floats = _sums(images, relevant, images).sum(axis=1) / np.where(total, total, np.nan)
    return ap


def tie_aware_ap_at_k(images: Integers, relevant: Integers, k: int) -> Floats:
    """The average precision of the first k images: float64 [Q].

    As the hashing literature defines mAP@k: the mean of the precisions at the relevant images among the first
    k, so it is divided by how many these are, and 0 where there are none. How many, depends on the order
    within the tie that k cuts: the mean is taken over that number, which is hypergeometric, and over the
    orders.

    Args and Returns:
        As :func:`tie_aware_ap`; a query without any relevant image gives NaN. With k at least the number of
        images, they are the same.

    Raises:
        ValueError: as there, or k below 1.
    """
    _check(images, relevant)
    if k < 1:
        raise ValueError(f"Average precision at k needs k of at least 1, got {k}.")
    before, found = _exclusive(images), _exclusive(relevant)
    whole = before + images <= k
    sums = np.where(whole, _sums(images, relevant, images), 0.0).sum(axis=1)
    scores = np.full(len(images), np.nan)
    for query in np.flatnonzero(relevant.any(axis=1)):
        cut = np.flatnonzero(~whole[query] & (before[query] < k))
        if len(cut):
            place = (query, cut[0])
            tie = (int(images[place]), int(relevant[place]), int(before[place]), int(found[place]))
            scores[query] = _with_cut_tie(sums[query], *tie, taken=k - int(before[place]))
        else:
            scores[query] = sums[query] / max(1, relevant[query][whole[query]].sum())
    return scores


def _sums(images: Integers, relevant: Integers, taken: Integers) -> Floats:
    """What the first ``taken`` images of each tie add to the sum of precisions, in the mean: [Q, D]."""
    before, found = _exclusive(images), _exclusive(relevant)
    share = relevant / np.maximum(images, 1)
    more = (relevant - 1) / np.maximum(images - 1, 1)
    sums: Floats = share * _precisions(taken, before, found, more)
    return sums


def _precisions(taken: Any, before: Any, found: Any, more: Any) -> Any:
    """sum_{j=1..taken} (found + 1 + (j-1) more) / (before + j)."""
    reciprocals = _reciprocals(before, before + taken)
    return (found + 1) * reciprocals + more * (taken - (before + 1) * reciprocals)


def _with_cut_tie(sums: float, images: int, relevant: int, before: int, found: int, *, taken: int) -> float:
    """The score of a query whose first k images end within a tie, of which ``taken`` are still among them."""
    if relevant == 0:
        return sums / found if found else 0.0
    drawn = np.arange(max(0, taken - (images - relevant)), min(taken, relevant) + 1)
    chance = _hypergeometric(images, relevant, taken, drawn)
    more = (drawn - 1) / max(taken - 1, 1)
    added = drawn / taken * _precisions(taken, before, found, more)
    scores = (sums + added) / np.maximum(found + drawn, 1)
    return float((chance * scores).sum())


def _hypergeometric(images: int, relevant: int, taken: int, drawn: Integers) -> Floats:
    """The probability of each number of relevant images among those taken; ``drawn`` are all possible."""
    lower = drawn[:-1].astype(np.float64)
    ratios = (relevant - lower) * (taken - lower) / ((lower + 1) * (images - relevant - taken + lower + 1))
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    chance = np.exp(logs - logs.max())
    weights: Floats = chance / chance.sum()
    return weights


def _reciprocals(start: Any, stop: Any) -> Any:
    """1/(start + 1) + ... + 1/stop, of whole numbers; accurate to rounding, however small it is."""
    low = _HARMONIC[np.minimum(stop, _EXACT)] - _HARMONIC[np.minimum(start, _EXACT)]
    a, b = np.maximum(start, _EXACT).astype(np.float64), np.maximum(stop, _EXACT).astype(np.float64)
    high = np.log1p((b - a) / a) + _series(b) - _series(a)
    return low + high


def _series(m: Floats) -> Floats:
    """The harmonic number of m, less its logarithm and Euler's constant."""
    square = 1.0 / (m * m)
    return 0.5 / m - square * (1 / 12 - square * (1 / 120 - square / 252))


def _exclusive(counts: Integers) -> Integers:
    """How many stand nearer than each distance."""
    nearer: Integers = np.cumsum(counts, axis=1) - counts
    return nearer


def _check(images: Integers, relevant: Integers) -> None:
    if images.shape != relevant.shape or images.ndim != 2:
        raise ValueError(f"Counts are [queries, distances], got {images.shape} and {relevant.shape}.")
    if (relevant < 0).any() or (relevant > images).any():
        raise ValueError("There are more relevant images at a distance than images, or fewer than none.")
