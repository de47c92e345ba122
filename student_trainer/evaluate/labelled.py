"""Retrieval scores on labelled images: relevant to a query is what has its label, or shares one of several.

In: descriptors and labels of queries and database. Out: one score per query, and their means. No I/O.

A query image that also stands in the database, once or several times, is left out of its own ranking: its
places there are given.
A query without a relevant image leaves the mean and is counted apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from student_trainer.datasets.manifest import Label
from student_trainer.evaluate.gallery import Gallery
from student_trainer.evaluate.ranking import (
    Float32Rows,
    Ranks,
    ap_step,
    ap_trapezoid,
    precision_at_k,
    rank_blocks,
    recall_at_k,
)
from student_trainer.evaluate.relevance import relevance
from student_trainer.evaluate.same_bytes import Places

Scores = NDArray[np.float64]
MEASURES = {
    "map_step": "mAP (step): mean over queries of the step average precision, scikit-learn's definition",
    "map_trapezoid": "mAP (trapezoidal): the same by the trapezoidal rule, as for Oxford and Paris",
    "mp_at_10": "mP@10: mean precision among the first 10, cut at the last relevant image",
    "recall_at_1": "recall@1: share of queries whose first image is relevant",
}
"""What each number of :class:`RetrievalScores` means, in words; printed wherever the numbers are."""

DEPTHS = (2, 4, 8)
RECALLS = {
    f"recall_at_{k}": f"recall@{k}: share of queries with a relevant image among the first {k}"
    for k in DEPTHS
}
"""Further depths at which recall is reported where classes were not trained on (Song et al. 2016)."""


@dataclass(frozen=True)
class RetrievalScores:
    """Means over the queries that have at least one relevant image."""

    map_step: float
    map_trapezoid: float
    mp_at_10: float
    recall_at_1: float
    recall_at_2: float
    recall_at_4: float
    recall_at_8: float
    queries: int
    """Queries in the means."""
    database: int
    """Images of the database."""
    queries_without_positives: int = 0
    """Queries left out of the means because no other image has their label."""


@dataclass(frozen=True)
class QueryScores:
    """The scores of every query, [Q] each; NaN where a query has no relevant image."""

    map_step: Scores
    map_trapezoid: Scores
    mp_at_10: Scores
    recall_at_1: Scores
    recall_at_2: Scores
    recall_at_4: Scores
    recall_at_8: Scores
    database: int
    top: list[Ranks] = field(repr=False)
    """Per query, the database indices of its best images (its own left out), best first."""

    @property
    def scored(self) -> NDArray[np.bool_]:
        """bool [Q]: the queries that are in the means."""
        return ~np.isnan(self.map_step)

    def means(self) -> RetrievalScores:
        """Average the scored queries.

        Raises:
            ValueError: there is none.
        """
        scored = self.scored
        if not scored.any():
            raise ValueError(
                f"None of the {len(scored)} queries has a relevant image in the database: "
                "no label occurs in both, the image that asks aside."
            )
        means = {name: float(getattr(self, name)[scored].mean()) for name in (*MEASURES, *RECALLS)}
        return RetrievalScores(
            **means,
            queries=int(scored.sum()),
            database=self.database,
            queries_without_positives=int((~scored).sum()),
        )


def score(
    query_descriptors: Float32Rows,
    database_descriptors: Float32Rows,
    query_labels: Sequence[Label],
    database_labels: Sequence[Label],
    own_places: Sequence[ArrayLike] | None = None,
) -> RetrievalScores:
    """Mean retrieval scores; arguments as :func:`score_queries`.

    Raises:
        ValueError: lengths that differ, descriptors that are not finite, or no query with a relevant image.
    """
    return score_queries(
        query_descriptors, database_descriptors, query_labels, database_labels, own_places
    ).means()


def score_queries(
    query_descriptors: Float32Rows,
    database_descriptors: Float32Rows,
    query_labels: Sequence[Label],
    database_labels: Sequence[Label],
    own_places: Sequence[ArrayLike] | None = None,
    *,
    top_k: int = 10,
) -> QueryScores:
    """Score each query.

    Args:
        query_descriptors: float32 [Q, d], unit rows.
        database_descriptors: float32 [N, d], unit rows.
        query_labels: Q labels, one each or several.
        database_labels: N labels.
        own_places: per query the places of its own image in the database, none where it does not stand
            there; None when no query does.
        top_k: how many of the best images to keep per query.

    Raises:
        ValueError: lengths that differ, or descriptors that are not finite.
    """
    own = as_places(own_places, len(query_labels))
    _check_lengths(len(query_descriptors), len(database_descriptors), query_labels, database_labels, own)
    relevant = relevance(query_labels, database_labels)
    values = np.full((len(MEASURES) + len(RECALLS), len(query_labels)), np.nan)
    top: list[Ranks] = []
    for start, orders in rank_blocks(query_descriptors, database_descriptors):
        for query, order in enumerate(orders, start):
            kept = order[~np.isin(order, own[query])] if len(own[query]) else order
            top.append(kept[:top_k].copy())
            ranks = np.flatnonzero(relevant.of(query)[kept])
            if len(ranks):
                values[:, query] = _measures(ranks)
    by_measure = dict(zip((*MEASURES, *RECALLS), values, strict=True))
    return QueryScores(**by_measure, database=len(database_labels), top=top)


def search(queries: Float32Rows, database: Float32Rows, gallery: Gallery) -> QueryScores:
    """Score the gallery's queries against its database.

    Args:
        queries: float32 [n, D], unit rows of all images of the gallery, as those that ask are described.
        database: float32 [n, D], unit rows of the same images, as those that are searched are: another
            network's in asymmetric search.
        gallery: n images; one that asks and is searched is left out of its own ranking, with its copies.

    Raises:
        ValueError: as :func:`score_queries`.
    """
    return score_queries(
        queries[gallery.queries],
        database[gallery.database],
        gallery.query_labels,
        gallery.database_labels,
        own_places=gallery.own_places,
    )


def as_places(own: Sequence[ArrayLike] | None, queries: int) -> list[Places]:
    """Per query int64 [its places in the database]; none of any query where nothing is given."""
    if own is None:
        return [np.empty(0, dtype=np.int64)] * queries
    return [np.asarray(places, dtype=np.int64) for places in own]


def _measures(ranks: Ranks) -> tuple[float, ...]:
    """The scores of one query, in the order of ``MEASURES`` and ``RECALLS``."""
    return (
        ap_step(ranks, len(ranks)),
        ap_trapezoid(ranks, len(ranks)),
        precision_at_k(ranks, 10),
        *(recall_at_k(ranks, k) for k in (1, *DEPTHS)),
    )


def _check_lengths(
    queries: int,
    database: int,
    query_labels: Sequence[Label],
    database_labels: Sequence[Label],
    own: Sequence[Places],
) -> None:
    if (queries, database) != (len(query_labels), len(database_labels)) or len(own) != queries:
        raise ValueError(
            f"{queries} query and {database} database descriptors do not fit {len(query_labels)} and "
            f"{len(database_labels)} labels and own places of {len(own)} queries."
        )
    if any(len(places) and not 0 <= places.min() <= places.max() < database for places in own):
        raise ValueError(f"Own places must lie in the database of {database} images.")
