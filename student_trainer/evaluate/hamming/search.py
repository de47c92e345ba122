"""Exact search by Hamming distance: the codes of a database that differ least from a query's.

In: packed codes of queries and database. Out: for each query, the nearest of the database; or how many images
there are at each distance, relevant or not, which is all that a fair score of a ranking with ties needs.

A thousand queries in a million codes of 64 bits take about a second; the memory is that of the codes, once
more as words, and of what is returned.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from student_trainer.evaluate.hamming.kernels import (
    Found,
    Sides,
    count_all,
    count_equal,
    count_shared,
    find_nearest,
)
from student_trainer.evaluate.hamming.packing import Codes, as_words, check_codes
from student_trainer.evaluate.ranking import Ranks
from student_trainer.evaluate.relevance import Relevance, SameLabel, SharedLabel
from student_trainer.evaluate.same_bytes import Places

Counts = NDArray[np.int64]

_RANGES_PER_THREAD = 4


def nearest(queries: Codes, database: Codes, bits: int, k: int) -> tuple[Ranks, NDArray[np.uint16]]:
    """The k codes that differ least from each query's, the nearest first; k may be the whole database.

    Args:
        queries: packed codes [Q, bytes].
        database: packed codes [N, bytes].
        bits: of a code.
        k: how many to find, at most N.

    Returns:
        Database indices int64 [Q, k], those of equal distance in their own order; and the distances.

    Raises:
        ValueError: not codes of so many bits, or k is not from 1 to N.
    """
    codes = _sides(queries, database, bits)
    if not 1 <= k <= len(database):
        raise ValueError(f"k = {k}: from 1 to the {len(database):,} codes of the database can be found.")
    places = np.zeros((len(queries), bits + 1), np.int64)
    found = Found(np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.uint16))

    def work(start: int, stop: int) -> None:
        count_all(start, stop, codes, places)
        mine = places[start:stop]
        mine[:] = np.cumsum(mine, axis=1) - mine  # from how many have a distance to where the first stands
        find_nearest(start, stop, codes, places, found)

    _share_out(len(queries), work)
    return found.order, found.distances


def count_by_distance(
    queries: Codes,
    database: Codes,
    bits: int,
    relevance: Relevance,
    own_places: Sequence[Places] | None = None,
) -> Counts:
    """How many images of the database stand at each distance from each query: int64 [Q, 2, bits + 1].

    Args:
        queries: packed codes [Q, bytes]. database: packed codes [N, bytes]. bits: of a code. relevance: by
        labels of the same Q and N; ``[q, 1]`` counts the relevant images, ``[q, 0]`` the others. own_places:
        per query the places of its own image in the database, which are not counted.

    Raises:
        ValueError: not codes of so many bits, or labels or own places that do not fit them.
    """
    codes = _sides(queries, database, bits)
    labels, count = _labels(relevance)
    labelled = (labels.queries.shape[-1], labels.database.shape[-1])
    if labelled != (len(queries), len(database)):
        raise ValueError(
            f"{len(queries)} queries and {len(database)} database codes do not fit the labels of "
            f"{labelled[0]} and {labelled[1]}."
        )
    counts = np.zeros((len(queries), 2, bits + 1), np.int64)
    _share_out(len(queries), lambda start, stop: count(start, stop, codes, labels, counts))
    if own_places is not None:
        _take_out_own(counts, queries, database, own_places, relevance)
    return counts


def _sides(queries: Codes, database: Codes, bits: int) -> Sides:
    check_codes(queries, bits)
    check_codes(database, bits)
    return Sides(as_words(queries), as_words(database))


def _labels(relevance: Relevance) -> tuple[Sides, Callable[..., None]]:
    """Labels as the loops take them, and the loop."""
    if isinstance(relevance, SameLabel):
        return Sides(relevance.queries, relevance.database), count_equal
    if isinstance(relevance, SharedLabel):
        of_queries, of_database = (relevance.queries.T, relevance.database.T)
        return Sides(np.ascontiguousarray(of_queries), np.ascontiguousarray(of_database)), count_shared
    raise TypeError(f"Relevance by {type(relevance).__name__} cannot be counted: labels are needed.")


def _share_out(queries: int, work: Callable[[int, int], None]) -> None:
    """Call ``work(start, stop)`` for ranges that cover all queries, on as many threads as PyTorch has."""
    threads = min(torch.get_num_threads(), max(1, queries))
    cuts = np.linspace(0, queries, 1 + min(queries, threads * _RANGES_PER_THREAD), dtype=int).tolist()
    with ThreadPoolExecutor(threads, thread_name_prefix="hamming") as pool:
        for done in [pool.submit(work, start, stop) for start, stop in pairwise(cuts)]:
            done.result()


def _take_out_own(
    counts: Counts, queries: Codes, database: Codes, own_places: Sequence[Places], relevance: Relevance
) -> None:
    """A query that stands in the database is not to find itself."""
    every = np.concatenate([np.empty(0, np.int64), *own_places])
    if len(own_places) != len(queries) or (
        len(every) and not 0 <= every.min() <= every.max() < len(database)
    ):
        raise ValueError(
            f"Own places are those of each of {len(queries)} queries in a database of {len(database)}."
        )
    for query, places in enumerate(own_places):
        for place in places.tolist():
            distance = int(np.unpackbits(queries[query] ^ database[place]).sum())
            counts[query, int(_is_relevant(relevance, query, place)), distance] -= 1


def _is_relevant(relevance: Relevance, query: int, place: int) -> bool:
    assert isinstance(relevance, SameLabel | SharedLabel)  # checked by _labels
    mine, its = relevance.queries[query], relevance.database[place]
    return bool(mine == its) if isinstance(relevance, SameLabel) else bool((mine & its).any())
