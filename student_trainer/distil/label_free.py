"""How closely a student ranks as its teacher ranks, on images that carry no label.

In: descriptors of the same images from both, such as bought ones that were held back from training. Out: the
overlap of their nearest neighbours, and the average precision of the student's ranking against the
teacher's neighbours. No I/O.

Every image ranks all the others. Nothing is asked of the teacher but the descriptors that are held, so this
costs no query; and since no label is needed, it can watch a training that has none.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating]
Float32Matrix = NDArray[np.float32]

SIMILARITIES_AT_ONCE = 2_000_000
"""Per network, in one block of rows: with orders and counts about 80 MB in all."""


@dataclass(frozen=True)
class LabelFreeScores:
    """Means over images; 1 is the teacher's own ranking."""

    overlap: float
    """Share of an image's ``k`` nearest by the student that are among its ``k`` nearest by the teacher."""
    average_precision: float | None
    """Step AP of the student's ranking, relevant being what the teacher finds more similar than ``tau``;
    over the images that have such a neighbour, None where no image has."""
    images: int
    without_neighbours: int
    """Images that no other image comes closer to than ``tau``: they are in no mean of AP."""
    k: int
    """Neighbours compared: what was asked for, or all the others where there are fewer."""
    tau: float


def score(student: Rows, teacher: Rows, k: int = 10, tau: float = 0.75) -> LabelFreeScores:
    """Compare two rankings of the same images.

    Args:
        student: [n, d], any length but zero; row i describes the same image as row i of ``teacher``.
        teacher: [n, D], likewise.
        k: neighbours to compare, at least 1.
        tau: cosine to the teacher above which two images are relevant to each other.

    Ties stand in the order of the rows, in both rankings. Memory is bounded, whatever n.

    Raises:
        ValueError: not two matrices of as many rows, fewer than two images, k below 1, tau that is not
            finite, or a row that is zero or not finite.
    """
    if len(student) != len(teacher) or len(student) < 2:
        raise ValueError(
            f"A ranking is compared on at least 2 images that both have described; the student describes "
            f"{len(student)}, the teacher {len(teacher)}."
        )
    if k < 1 or not np.isfinite(tau):
        raise ValueError(f"k must be at least 1 and tau a finite number, got k = {k} and tau = {tau}.")
    k = min(k, len(student) - 1)
    pairs = zip(_blocks(_units(student, "student")), _blocks(_units(teacher, "teacher")), strict=True)
    measured = [_block_scores(mine, theirs, k, tau) for mine, theirs in pairs]
    overlaps, precisions = (np.concatenate(part) for part in zip(*measured, strict=True))
    scored = ~np.isnan(precisions)
    return LabelFreeScores(
        overlap=float(overlaps.mean()),
        average_precision=float(precisions[scored].mean()) if scored.any() else None,
        images=len(student),
        without_neighbours=int(np.count_nonzero(~scored)),
        k=k,
        tau=float(tau),
    )


def _units(rows: Rows, whose: str) -> Float32Matrix:
    """Rows of length 1; the first that has no direction is named."""
    if rows.ndim != 2:
        raise ValueError(f"The {whose}'s descriptors must be [images, dimension], got shape {rows.shape}.")
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    bad = ~(np.isfinite(norms) & (norms > 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"The {whose}'s descriptor in row {row} has length {norms[row]}: no direction.")
    units: Float32Matrix = (rows / norms[:, None]).astype(np.float32)
    return units


def _blocks(units: Float32Matrix) -> Iterator[Float32Matrix]:
    """Cosines of some rows to all rows, [b, n]; of a row to itself -inf, so that it ranks last."""
    height = max(1, SIMILARITIES_AT_ONCE // len(units))
    for start in range(0, len(units), height):
        block = units[start : start + height] @ units.T
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -np.inf
        yield block


def _block_scores(
    mine: Float32Matrix, theirs: Float32Matrix, k: int, tau: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Overlap and AP of each row of a block; AP is NaN where nothing is relevant."""
    order = np.argsort(-mine, axis=1, kind="stable")
    best = np.argsort(-theirs, axis=1, kind="stable")[:, :k]
    is_best = np.zeros(mine.shape, dtype=bool)
    np.put_along_axis(is_best, best, True, axis=1)
    overlap = np.take_along_axis(is_best, order[:, :k], axis=1).mean(axis=1)
    relevant = np.take_along_axis(theirs > tau, order, axis=1)
    found = relevant.cumsum(axis=1)
    precision = found / np.arange(1, mine.shape[1] + 1)
    with np.errstate(invalid="ignore"):  # 0 / 0 where nothing is relevant: NaN, as promised
        average = (precision * relevant).sum(axis=1) / found[:, -1]
    return overlap, average
