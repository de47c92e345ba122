"""Which images of a database a query should find: those of its label, or those that share one of several.

In: the labels of queries and database, one each or several. Out: for each query, which images are relevant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from student_trainer.datasets.manifest import Label

_WORD_BITS = 64


class Relevance(Protocol):
    """What is relevant to whom."""

    def of(self, query: int) -> NDArray[np.bool_]:
        """bool [N]: which images of the database a query should find; itself too, if it stands there."""
        ...


@dataclass(frozen=True)
class SameLabel:
    """One label each: relevant are the images of the query's."""

    queries: NDArray[np.int64]
    """[Q] class numbers."""
    database: NDArray[np.int64]
    """[N]"""

    def of(self, query: int) -> NDArray[np.bool_]:
        """bool [N]."""
        same: NDArray[np.bool_] = self.database == self.queries[query]
        return same


@dataclass(frozen=True)
class SharedLabel:
    """Several labels each: relevant are the images that share at least one with the query.

    Labels are kept as bits, so that 2,100 queries of 200,000 images with 21 labels take a second.
    """

    queries: NDArray[np.uint64]
    """[Q, W]: 64 labels a word."""
    database: NDArray[np.uint64]
    """[N, W]"""

    def of(self, query: int) -> NDArray[np.bool_]:
        """bool [N]."""
        shared: NDArray[np.bool_] = (self.database & self.queries[query]).any(axis=1)
        return shared


def relevance(query_labels: Sequence[Label], database_labels: Sequence[Label]) -> Relevance:
    """By the labels of Q queries and N database images; one image with several makes all of them sets."""
    together = [*query_labels, *database_labels]
    queries = len(query_labels)
    if all(isinstance(label, str) for label in together):
        numbers = np.unique(np.asarray(together, dtype=np.str_), return_inverse=True)[1]
        return SameLabel(numbers[:queries], numbers[queries:])
    bits = _bits([(label,) if isinstance(label, str) else label for label in together])
    return SharedLabel(bits[:queries], bits[queries:])


def what_is_relevant(*, several_labels: bool) -> str:
    """In words, of images that have one label each or several."""
    return "a label in common" if several_labels else "the same label"


def in_words(label: Label) -> str:
    """``clouds + sky`` of several."""
    return label if isinstance(label, str) else " + ".join(label)


def _bits(sets: Sequence[tuple[str, ...]]) -> NDArray[np.uint64]:
    """[n, W]: bit b of word w stands for label 64 w + b, in ascending order of the labels."""
    place = {name: at for at, name in enumerate(sorted({name for names in sets for name in names}))}
    bits = np.zeros((len(sets), 1 + (len(place) - 1) // _WORD_BITS if place else 1), np.uint64)
    for row, names in enumerate(sets):
        for name in names:
            word, bit = divmod(place[name], _WORD_BITS)
            bits[row, word] |= np.uint64(1 << bit)
    return bits
