"""Loops over codes, as machine code that numba makes for this computer's processor.

In: words of codes, a range of queries. Out: what is asked of these queries, written in place. A query's
result needs no other query, so threads share them out and no bit depends on how. The database is passed over
in blocks that stay in the nearest cache while every query of the range meets them.
"""

from typing import Any, NamedTuple

import numpy as np

from student_trainer.distil.rank_loss.machine_code import compiled

BLOCK = 8192
"""Codes compared at a time: 64 kB of words and 16 kB of distances."""


class Sides(NamedTuple):
    """Words of codes, or labels, of both sides; the last axis is that of the images."""

    queries: Any
    database: Any


class Found(NamedTuple):
    """Database indices and distances, [Q, k] each."""

    order: Any
    distances: Any


@compiled
def bits_set(word: Any) -> Any:
    """How many bits of a word are 1; compilers know this form and use the processor's own instruction."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled
def _compare(codes: Any, query: Any, first: Any, distances: Any) -> None:
    """The bits in which a query differs from the codes that begin at ``first``, into ``distances``."""
    for place in range(len(distances)):
        distances[place] = bits_set(codes.queries[0, query] ^ codes.database[0, first + place])
    for word in range(1, len(codes.database)):
        for place in range(len(distances)):
            distances[place] += bits_set(codes.queries[word, query] ^ codes.database[word, first + place])


@compiled
def _mark_equal(label: Any, labels: Any, first: Any, relevant: Any) -> None:
    """Which of the images that begin at ``first`` have this label."""
    for place in range(len(relevant)):
        relevant[place] = labels[first + place] == label


@compiled
def _mark_shared(labels: Any, query: Any, first: Any, relevant: Any) -> None:
    """Which of them have one of this query's labels; labels are bits of words."""
    relevant[:] = 0
    for word in range(len(labels.database)):
        mine = labels.queries[word, query]
        for place in range(len(relevant)):
            relevant[place] |= (labels.database[word, first + place] & mine) != 0


@compiled
def _add(distances: Any, relevant: Any, counts: Any) -> None:
    for place in range(len(distances)):
        counts[relevant[place], distances[place]] += 1


@compiled
def count_equal(start: Any, stop: Any, codes: Any, labels: Any, counts: Any) -> None:
    """Images by relevance and distance, int64 [Q, 2, bits + 1], for one label each: int64 [Q] and [N]."""
    distances, relevant = np.empty(BLOCK, np.uint16), np.empty(BLOCK, np.uint8)
    for first in range(0, codes.database.shape[1], BLOCK):
        size = min(BLOCK, codes.database.shape[1] - first)
        for query in range(start, stop):
            _compare(codes, query, first, distances[:size])
            _mark_equal(labels.queries[query], labels.database, first, relevant[:size])
            _add(distances[:size], relevant[:size], counts[query])


@compiled
def count_shared(start: Any, stop: Any, codes: Any, labels: Any, counts: Any) -> None:
    """The same for several labels each, as bits of words: uint64 [L, Q] and [L, N]."""
    distances, relevant = np.empty(BLOCK, np.uint16), np.empty(BLOCK, np.uint8)
    for first in range(0, codes.database.shape[1], BLOCK):
        size = min(BLOCK, codes.database.shape[1] - first)
        for query in range(start, stop):
            _compare(codes, query, first, distances[:size])
            _mark_shared(labels, query, first, relevant[:size])
            _add(distances[:size], relevant[:size], counts[query])


@compiled
def count_all(start: Any, stop: Any, codes: Any, counts: Any) -> None:
    """Images by distance, int64 [Q, bits + 1]."""
    distances = np.empty(BLOCK, np.uint16)
    for first in range(0, codes.database.shape[1], BLOCK):
        size = min(BLOCK, codes.database.shape[1] - first)
        for query in range(start, stop):
            _compare(codes, query, first, distances[:size])
            for place in range(size):
                counts[query, distances[place]] += 1


@compiled
def find_nearest(start: Any, stop: Any, codes: Any, places: Any, found: Any) -> None:
    """The nearest codes of each query, given where in its list those of each distance begin.

    ``places`` int64 [Q, bits + 1] move on; ``found`` has indices int64 [Q, k] and distances uint16 [Q, k].
    """
    distances = np.empty(BLOCK, np.uint16)
    for first in range(0, codes.database.shape[1], BLOCK):
        size = min(BLOCK, codes.database.shape[1] - first)
        for query in range(start, stop):
            _compare(codes, query, first, distances[:size])
            _put(distances[:size], first, places[query], found.order[query], found.distances[query])


@compiled
def _put(distances: Any, first: Any, places: Any, order: Any, found: Any) -> None:
    for place in range(len(distances)):
        at = places[distances[place]]
        if at < len(order):
            order[at] = first + place
            found[at] = distances[place]
            places[distances[place]] = at + 1
