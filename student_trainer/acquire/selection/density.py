"""``density``: images that will have neighbours in the transfer set: something to be ranked first.

In: descriptors, and what is chosen. Out: the additions, in order.

Rank distillation learns from pairs that the teacher finds similar; an image that is bought without any of
its neighbours teaches little. Every candidate names its neighbours: those of its nearest images that
are more similar than a threshold, which is set so that a quarter of the candidates have ``NEIGHBOURS`` or
more.
A candidate is served when ``SERVED`` of its neighbours are chosen. The next choice is always the image that
is a neighbour of most candidates not yet served; so a dense place gets a few images, which are one
another's neighbours, and then the next place has its turn. When all are served, each asks for as many again.
What is nobody's neighbour comes last, in the order of the seed.

Counting what is served up to a limit makes a monotone submodular function, of which the greedy choice gets
at least 1 - 1/e of the possible (Nemhauser, Wolsey and Fisher 1978); with such functions Wei, Iyer and
Bilmes, "Submodularity in Data Subset Selection and Active Learning" (2015), choose what to label.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.vectors import Float32Rows
from student_trainer.acquire.selection.strategy import Indices, blocks, free_rows

NEIGHBOURS = 5
SHARE = 0.25
"""This share of the candidates has at least that many neighbours."""
SERVED = 3
"""Chosen neighbours that a candidate asks for, then twice as many, and so on."""
MOST_NEIGHBOURS = 64
"""Neighbours that a candidate names at most: bounds memory at 100,000 images to about 100 MB."""
_SAMPLE = 2_000
_ROUNDING = 1e-6
"""Two products of the same rows, in blocks of other sizes, may differ by this."""


def density(rows: Float32Rows, chosen: Sequence[int], wanted: int) -> list[int]:
    """The most asked for first. Nested, also over what was chosen by another strategy.

    Ties go to the row that the seed draws first. Time: one product [n, d] x [d, n] in blocks.
    """
    demand = _Demand(_neighbour_graph(rows, threshold(rows)), len(rows))
    for index in chosen:
        demand.choose(index)
    added: list[int] = []
    while len(added) < wanted and (best := demand.most_asked_for()) is not None:
        demand.choose(best)
        added.append(best)
    unasked = free_rows(len(rows), [*chosen, *added])
    return [*added, *unasked[: wanted - len(added)].tolist()]


def threshold(rows: Float32Rows) -> float:
    """The cosine at which ``SHARE`` of the rows have ``NEIGHBOURS`` others; of many, the first tell."""
    rank = min(NEIGHBOURS, len(rows) - 1)
    if rank < 1:
        return 1.0
    found = []
    for _, block in blocks(rows[:_SAMPLE], rows):
        # A row is its own nearest, so the one at place ``rank`` is its neighbour number ``rank``.
        found.append(-np.partition(-block, rank, axis=1)[:, rank])
    return float(np.quantile(np.concatenate(found), 1 - SHARE)) - _ROUNDING


@dataclass(frozen=True)
class _Graph:
    """Edges (asker, asked) twice: by asker, and by asked."""

    asked: Indices
    asked_starts: Indices
    """[n + 1]: row i asks for ``asked[asked_starts[i] : asked_starts[i + 1]]``."""
    askers: Indices
    asker_starts: Indices
    """[n + 1]: row i is asked for by ``askers[asker_starts[i] : asker_starts[i + 1]]``."""


def _neighbour_graph(rows: Float32Rows, least: float) -> _Graph:
    """For each row its nearest others with a cosine of at least ``least``, ``MOST_NEIGHBOURS`` at most."""
    askers, asked = [], []
    for first, block in blocks(rows, rows):
        block[np.arange(len(block)), np.arange(first, first + len(block))] = -np.inf
        near = block >= least
        for row in np.flatnonzero(near.sum(axis=1) > MOST_NEIGHBOURS):
            near[row, np.argpartition(-block[row], MOST_NEIGHBOURS)[MOST_NEIGHBOURS:]] = False
        asker, target = np.nonzero(near)
        askers.append(first + asker)
        asked.append(target)
    by_asker, targets = np.concatenate(askers), np.concatenate(asked)
    by_target = np.argsort(targets, kind="stable")
    ends = np.arange(len(rows) + 1)
    return _Graph(
        asked=targets,
        asked_starts=np.searchsorted(by_asker, ends),
        askers=by_asker[by_target],
        asker_starts=np.searchsorted(targets[by_target], ends),
    )


class _Demand:
    """How many candidates that are not yet served ask for each row, kept up to date choice by choice."""

    def __init__(self, graph: _Graph, n: int) -> None:
        self._graph = graph
        self._free = np.ones(n, dtype=bool)
        self._served = np.zeros(n, dtype=np.int64)
        self._limit = SERVED
        self._count()

    def choose(self, index: int) -> None:
        """Serve those who ask for ``index``; who has enough asks no more."""
        graph = self._graph
        self._free[index] = False
        askers = graph.askers[graph.asker_starts[index] : graph.asker_starts[index + 1]]
        self._served[askers] += 1
        for content in askers[self._served[askers] == self._limit]:
            self._asking[graph.asked[graph.asked_starts[content] : graph.asked_starts[content + 1]]] -= 1

    def most_asked_for(self) -> int | None:
        """The free row that most candidates ask for; None when none of them names a free row."""
        while self._limit < MOST_NEIGHBOURS + SERVED:
            asking = np.where(self._free, self._asking, 0)
            best = int(np.argmax(asking))
            if asking[best]:
                return best
            self._limit += SERVED
            self._count()
        return None

    def _count(self) -> None:
        graph, n = self._graph, len(self._free)
        wanting = np.repeat(self._served < self._limit, np.diff(graph.asked_starts))
        self._asking = np.bincount(graph.asked[wanting], minlength=n)
