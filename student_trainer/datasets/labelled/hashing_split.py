"""The split of hashing papers: of each class some images ask and some are trained on; all but the queries are
searched.

In: the labels of n images and their names. Out: who is what, the same for everyone: where papers shuffle,
here images stand in ascending order of the SHA-256 of their names.

Source: 100 queries and 500 training images a class, of CIFAR-10 and of the 21 concepts of NUS-WIDE, and a
database of all images but the queries, as in Lai et al., "Simultaneous Feature Learning and Hash Coding with
Deep Neural Networks" (2015), and in the public code of Reddy et al., "Context Unaware Knowledge Distillation
for Image Retrieval" (2022). The images themselves are another draw than theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.digest import sha256_hex

QUERIES_PER_CLASS, TRAINED_PER_CLASS = 100, 500


@dataclass(frozen=True)
class HashingSplit:
    """Who asks and who is trained on; nobody is both."""

    queries: NDArray[np.bool_]
    """[n]"""
    trained: NDArray[np.bool_]
    """[n]"""


def hashing_split(shows: NDArray[np.bool_], names: Sequence[str]) -> HashingSplit:
    """Draw class by class, in their order, from the images that no class before has taken.

    Of a class with fewer than 1,000 images, as in a part of a set, a tenth asks (at least one image) and at
    most half is trained on.

    Args:
        shows: [n, C], which image has which class or concept.
        names: n, all different.
    """
    order = np.array(sorted(range(len(names)), key=lambda row: sha256_hex(names[row].encode())), np.int64)
    free = np.ones(len(names), bool)
    sizes = shows.sum(axis=0).tolist()
    queries = [min(QUERIES_PER_CLASS, max(1, size // 10)) for size in sizes]
    trained = [min(TRAINED_PER_CLASS, size // 2) for size in sizes]
    # All queries first: a concept that is often seen beside others would else find its images taken.
    return HashingSplit(_draw(shows, order, free, queries), _draw(shows, order, free, trained))


def _draw(
    shows: NDArray[np.bool_], order: NDArray[np.int64], free: NDArray[np.bool_], counts: Sequence[int]
) -> NDArray[np.bool_]:
    """[n]: of each class so many of the first that are free; they are so no longer."""
    taken = np.zeros(len(order), bool)
    for label, count in enumerate(counts):
        fitting = order[(shows[:, label] & free)[order]][:count]
        taken[fitting], free[fitting] = True, False
    return taken
