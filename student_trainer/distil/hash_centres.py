"""Hash centres: one code for each class, which the codes of its images shall come close to.

In: how many classes, how many bits. Out: +1 and -1, int8 [classes, bits].

Source: Yuan et al., "Central Similarity Quantization for Efficient Image and Video Retrieval" (2020). Up to
twice as many classes as bits take the rows of [H; -H], where H is Sylvester's Hadamard matrix: any two of
them differ in half of the bits or in all. H exists for powers of two, so other lengths are refused. More
classes take random codes with as many +1 as -1; where the paper draws each bit by itself, these are drawn to
keep a minimum distance, the largest for which enough of them are found.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from student_trainer.errors import InvalidInput

Signs = NDArray[np.int8]

_CANDIDATES_PER_CLASS = 4
"""Codes drawn at most for each that is wanted, at one minimum distance."""
_DRAWN_AT_ONCE = 256


def hash_centres(classes: int, bits: int, seed: int = 0) -> Tensor:
    """The centres of so many classes; the same for the same arguments.

    Raises:
        InvalidInput: bits are not a power of two, or too few for so many classes.
    """
    check_bits(bits)
    if classes < 1:
        raise InvalidInput(f"{classes} classes have no hash centres: give at least one label.")
    if classes <= 2 * bits:
        rows = hadamard(bits)
        return torch.from_numpy(np.concatenate([rows, -rows])[:classes].copy())
    return torch.from_numpy(random_balanced(classes, bits, seed))


def check_bits(bits: int) -> None:
    """Refuse a length that has no Hadamard matrix.

    Raises:
        InvalidInput: names the nearest lengths that have one.
    """
    if bits < 2 or bits & (bits - 1):
        below = 1 << max(1, bits.bit_length() - 1)
        raise InvalidInput(
            f"bits = {bits}: csq takes its hash centres from a Hadamard matrix, whose side is a power of "
            f"two. Choose {below} or {2 * below} bits, or the objective dch, which takes any number."
        )


def hadamard(side: int) -> Signs:
    """Sylvester's matrix [side, side] for a power of two: rows of +1 and -1, any two orthogonal."""
    matrix = np.ones((1, 1), np.int8)
    while len(matrix) < side:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def random_balanced(count: int, bits: int, seed: int) -> Signs:
    """``count`` codes with as many +1 as -1, any two of which differ in as many bits as could be had.

    The minimum distance is even, as balanced codes differ in even numbers of bits, and at least 2: all
    differ.

    Raises:
        InvalidInput: so many different ones are not found.
    """
    for distance in range(bits // 2, 0, -2):
        found = _far_apart(count, bits, distance, np.random.default_rng([seed, count, bits, distance]))
        if found is not None:
            return found
    raise InvalidInput(
        f"{count:,} classes are too many for centres of {bits} bits that differ from each other: take more "
        f"bits, such as --set objective.bits={2 * bits}."
    )


def majority(centres: Tensor, labels: Tensor, tie: Tensor) -> Tensor:
    """The code of each image with several labels: bit by bit what most of its centres have.

    Args:
        centres: +1 and -1, [classes, bits].
        labels: multi-hot [B, classes].
        tie: [bits], taken where as many centres have +1 as -1.

    Returns:
        [B, bits] in the type of ``tie``.
    """
    votes = labels.to(tie.dtype) @ centres.to(tie.dtype)
    return torch.where(votes == 0, tie, votes.sign())


def _far_apart(count: int, bits: int, distance: int, random: np.random.Generator) -> Signs | None:
    """Codes drawn one after another, each kept that is far enough from all before; None if too few are."""
    halves = np.repeat(np.array([1, -1], np.int8), bits // 2)
    kept, closest_product = np.empty((count, bits), np.float32), bits - 2 * distance
    have = 0
    for _ in range(-(-_CANDIDATES_PER_CLASS * count // _DRAWN_AT_ONCE)):
        drawn = random.permuted(np.tile(halves, (_DRAWN_AT_ONCE, 1)), axis=1).astype(np.float32)
        before = have
        fits = (drawn @ kept[:before].T <= closest_product).all(axis=1)
        for code in drawn[fits]:
            if (kept[before:have] @ code <= closest_product).all():
                kept[have] = code
                have += 1
                if have == count:
                    return kept.astype(np.int8)
    return None
