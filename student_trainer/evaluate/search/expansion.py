"""Descriptors mixed with those of their neighbours: of queries before the search, of the database beforehand.

In: unit descriptors. Out: unit descriptors in their place. Both are weighted by similarity^alpha (Radenovic
et al. 2018, Sec. 5: alpha-weighted query expansion): alpha 0 counts all that are similar at
all the same, a large alpha trusts the nearest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from student_trainer.errors import InvalidInput
from student_trainer.evaluate.ranking import Float32Rows
from student_trainer.evaluate.search.blocks import Rows, gathered
from student_trainer.evaluate.search.exact import top_k


@dataclass(frozen=True)
class Expansion:
    """How many neighbours are added, and the power of their similarities; ValueError where senseless."""

    images: int
    alpha: float

    def __post_init__(self) -> None:
        if self.images < 1 or not (np.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(
                f"An expansion takes at least 1 image and an alpha of at least 0, got {self.images} and "
                f"{self.alpha}."
            )

    @classmethod
    def parse(cls, text: str, option: str) -> "Expansion":
        """``10:3`` adds 10 images with alpha 3.

        Raises:
            InvalidInput: something else.
        """
        images, _, alpha = text.partition(":")
        try:
            return cls(int(images), float(alpha))
        except ValueError:
            raise InvalidInput(
                f"{option} {text!r} is not N:ALPHA, such as 10:3 for ten images weighted by the third power "
                "of their similarities."
            ) from None

    def __str__(self) -> str:
        return f"{self.images:,} images, alpha {self.alpha:g}"


def expand_queries(
    queries: Float32Rows,
    database: Rows,
    expansion: Expansion,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Float32Rows:
    """Every query plus its best database images, by similarity^alpha, then L2; its own weight is 1.

    Args:
        queries: float32 [Q, d], unit rows.
        database: [N, d], unit rows; searched once.
        expansion: similarities of 0 and below weigh nothing, whatever alpha is.
        on_rows: as in :func:`student_trainer.evaluate.search.exact.top_k`.
    """
    found = top_k(queries, database, expansion.images, on_rows)
    weights = _weights(found.similarities, expansion.alpha)
    neighbours = [gathered(database, indices) for indices in found.indices]
    added = [weight @ rows for weight, rows in zip(weights, neighbours, strict=True)]
    return _unit(queries + np.stack(added)) if added else queries


def augment_database(
    database: Float32Rows, expansion: Expansion, on_rows: Callable[[int], None] = lambda rows: None
) -> Float32Rows:
    """Every database descriptor plus its nearest others, by similarity^alpha, then L2.

    Args:
        database: float32 [N, d], unit rows; compared with itself, N^2 products.
        expansion: as in :func:`expand_queries`; itself is not among the images that are added.
        on_rows: as in :func:`student_trainer.evaluate.search.exact.top_k`.
    """
    found = top_k(database, database, expansion.images + 1, on_rows)
    others = found.indices != np.arange(len(database))[:, None]
    # Where others that are as similar in float32 stand before it, an image is not among its own best: the
    # last gives way. Among exact duplicates that changes nothing; others may be 1e-4 apart.
    others[others.all(axis=1), -1] = False
    weights = np.where(others, _weights(found.similarities, expansion.alpha), 0)
    mixed = np.empty_like(database)
    for index, (weight, neighbours) in enumerate(zip(weights, found.indices, strict=True)):
        mixed[index] = database[index] + weight @ database[neighbours]
    return _unit(mixed)


def _weights(similarities: Float32Rows, alpha: float) -> NDArray[np.float64]:
    """similarity^alpha; masked and not only clipped, because 0^0 is 1."""
    positive: NDArray[np.float64] = similarities.clip(min=0).astype(np.float64) ** alpha
    return np.where(similarities > 0, positive, 0.0)


def _unit(rows: NDArray[np.floating]) -> Float32Rows:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Float32Rows = (rows / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit
