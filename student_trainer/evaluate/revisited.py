"""The scores of the Oxford and Paris benchmarks, revisited and old.

In: rankings of the database, or the ranks of the graded images alone, and the ground truth. Out: for each
setup the mean average precisions and mP@k, with intervals over queries. No I/O.

Revisited (Radenovic et al., "Revisiting Oxford and Paris", 2018, Sec. 3): Easy seeks the easy images, Medium
the easy and the hard ones, Hard the hard ones alone; what is graded otherwise is ignored, that is taken out
of the ranking before anything is counted. The old protocol (Philbin et al. 2007) seeks ``ok`` and ignores
``junk``. A query without positives in a setup leaves the setup's means and is counted apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from student_trainer.datasets.ground_truth import QueryTruth
from student_trainer.evaluate.bootstrap import interval
from student_trainer.evaluate.ranking import Ranks, ap_step, ap_trapezoid, precision_at_k, recall_at_k

Protocol: TypeAlias = Literal["revisited", "old"]
Truth: TypeAlias = QueryTruth | Mapping[str, Any]
"""One query's graded images: ours, or a dictionary of the public pickle."""
Scores = NDArray[np.float64]

MEASURES = {
    "map_trapezoid": "mAP (trapezoidal): mean over queries of the area under the precision-recall curve, "
    "joined by straight lines; the benchmarks' own",
    "map_step": "mAP (step): the same as a sum of precisions at each positive, scikit-learn's definition",
    "mp_at_1": "mP@1: share of queries whose first image is relevant",
    "mp_at_5": "mP@5: mean precision among the first 5, cut at the last relevant image",
    "mp_at_10": "mP@10: mean precision among the first 10, cut at the last relevant image",
}


@dataclass(frozen=True)
class Setup:
    """What one setup of a protocol seeks and what it ignores."""

    positives: tuple[str, ...]
    ignored: tuple[str, ...]
    name: str


SETUPS: dict[Protocol, dict[str, Setup]] = {
    "revisited": {
        "E": Setup(("easy",), ("junk", "hard"), "Easy"),
        "M": Setup(("easy", "hard"), ("junk",), "Medium"),
        "H": Setup(("hard",), ("junk", "easy"), "Hard"),
    },
    "old": {"old": Setup(("ok",), ("junk",), "old protocol")},
}
HEADLINE: dict[Protocol, str] = {"revisited": "M", "old": "old"}
"""The setup that stands for a protocol where there is room for one."""


@dataclass(frozen=True)
class SetupScores:
    """The scores of every query in one setup, [Q] each; NaN where a query has no positive."""

    map_trapezoid: Scores
    map_step: Scores
    mp_at_1: Scores
    mp_at_5: Scores
    mp_at_10: Scores
    recall_at_1: Scores

    @property
    def scored(self) -> NDArray[np.bool_]:
        """bool [Q]: the queries that are in the means."""
        return ~np.isnan(self.map_step)

    def summary(self) -> dict[str, Any]:
        """Means, intervals and counts as plain JSON; means are None where no query has a positive."""
        scored = self.scored
        values = {name: getattr(self, name)[scored] for name in MEASURES}
        return {
            **{name: float(found.mean()) if len(found) else None for name, found in values.items()},
            "queries": int(scored.sum()),
            "queries_without_positives": int((~scored).sum()),
            "intervals": {name: interval(found) for name, found in values.items() if len(found)},
        }


def evaluate(
    ranks: NDArray[np.integer], ground_truth: Sequence[Truth], protocol: Protocol = "revisited"
) -> dict[str, Any]:
    """Score full rankings.

    Args:
        ranks: int [N, Q]; column q holds all database indices, best first.
        ground_truth: Q queries: ``easy``, ``hard`` and ``junk``, or ``ok`` and ``junk``, as database indices.
        protocol: ``revisited`` or ``old``.

    Returns:
        ``{"protocol": ..., "E": {...}, "M": {...}, "H": {...}}``, or ``{"protocol": "old", "old": {...}}``;
        each setup as :meth:`SetupScores.summary` gives it.

    Raises:
        ValueError: a ranking that does not hold every database image once, grades that the protocol needs
            and the ground truth lacks, a graded image that is not in the database or graded twice, or an
            unknown protocol.
    """
    places = _places(np.asarray(ranks), len(ground_truth))
    listed = [graded(truth, protocol) for truth in ground_truth]
    for query, indices in enumerate(listed):
        if len(indices) and indices[-1] >= len(places):
            raise ValueError(
                f"The ranking has {len(places):,} images, but the ground truth of query {query} names image "
                f"{indices[-1]:,}: rank the whole database, not only the best of it."
            )
    found = [places[indices, query] for query, indices in enumerate(listed)]
    scores = score(ground_truth, listed, found, protocol)
    return {"protocol": protocol, **{name: setup.summary() for name, setup in scores.items()}}


def graded(truth: Truth, protocol: Protocol) -> NDArray[np.int64]:
    """The database indices of all images that a query's ground truth grades, sorted.

    Raises:
        ValueError: as :func:`evaluate`.
    """
    grades = {grade for setup in _setups(protocol).values() for grade in (*setup.positives, *setup.ignored)}
    every = np.concatenate([_grade(truth, grade) for grade in sorted(grades)])
    indices = np.unique(every)
    if len(indices) != len(every):
        raise ValueError("The ground truth grades an image twice for one query.")
    if len(indices) and indices[0] < 0:
        raise ValueError(f"The ground truth names image {indices[0]}; indices begin at 0.")
    return indices


def score(
    ground_truth: Sequence[Truth],
    listed: Sequence[NDArray[np.int64]],
    ranks: Sequence[Ranks],
    protocol: Protocol = "revisited",
) -> dict[str, SetupScores]:
    """Score the ranks of the graded images: all that the measures need, however large the database is.

    Args:
        ground_truth: Q queries.
        listed: per query its graded images, as :func:`graded` gives them.
        ranks: per query the 0-based rank of each, in the same order, in the ranking of the whole database.
        protocol: ``revisited`` or ``old``.
    """
    return {
        name: SetupScores(
            *np.array([_measures(setup, *query) for query in zip(ground_truth, listed, ranks, strict=True)]).T
        )
        for name, setup in _setups(protocol).items()
    }


def ignored(truth: Truth, setup: Setup) -> NDArray[np.int64]:
    """The database indices that a setup takes out of a query's ranking."""
    return np.concatenate([_grade(truth, grade) for grade in setup.ignored])


def positives(truth: Truth, setup: Setup) -> NDArray[np.int64]:
    """The database indices that a setup seeks."""
    return np.concatenate([_grade(truth, grade) for grade in setup.positives])


def _measures(
    setup: Setup, truth: Truth, listed: NDArray[np.int64], ranks: Ranks
) -> tuple[float, float, float, float, float, float]:
    """One query, in the order of :class:`SetupScores`."""
    sought = np.sort(ranks[np.isin(listed, positives(truth, setup))])
    if not len(sought):
        return (np.nan,) * 6
    taken_out = np.sort(ranks[np.isin(listed, ignored(truth, setup))])
    places = sought - np.searchsorted(taken_out, sought)
    return (
        ap_trapezoid(places, len(places)),
        ap_step(places, len(places)),
        precision_at_k(places, 1),
        precision_at_k(places, 5),
        precision_at_k(places, 10),
        recall_at_k(places, 1),
    )


def _places(ranks: NDArray[np.integer], queries: int) -> Ranks:
    """The inverse of the rankings: [N, Q], where each database image stands."""
    if ranks.ndim != 2 or ranks.shape[1] != queries or ranks.dtype.kind not in "iu":
        raise ValueError(
            f"Rankings are whole numbers [database, queries]; got {ranks.dtype} {ranks.shape} for {queries} "
            "queries."
        )
    size = len(ranks)
    places = np.full(ranks.shape, -1, dtype=np.int64)
    for query, column in enumerate(ranks.T):
        inside = column[(column >= 0) & (column < size)]
        places[inside, query] = np.arange(size)[(column >= 0) & (column < size)]
        if (places[:, query] < 0).any():
            raise ValueError(
                f"The ranking of query {query} has {size:,} places, but does not hold each of the images "
                f"0 to {size - 1:,} once: rank the whole database, not only the best of it."
            )
    return places


def _setups(protocol: Protocol) -> dict[str, Setup]:
    if protocol not in SETUPS:
        raise ValueError(f"There is no protocol {protocol!r}: choose {' or '.join(SETUPS)}.")
    return SETUPS[protocol]


def _grade(truth: Truth, grade: str) -> NDArray[np.int64]:
    if isinstance(truth, QueryTruth):
        return np.asarray(getattr(truth, grade), dtype=np.int64)
    if grade not in truth:
        raise ValueError(
            f"The ground truth has no {grade!r}, only {', '.join(map(repr, truth))}: "
            "it is of another protocol."
        )
    return np.asarray(truth[grade], dtype=np.int64).reshape(-1)
