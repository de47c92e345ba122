"""Parts of a transfer set: nested in size, drawn by seed, sparse where asked; and the recipe for a part.

In: what was bought, once. Out: rows of it, and recipes; no query is spent. Everything hangs on the images'
digests, the descriptors and the seed.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.digest import sha256_hex
from student_trainer.acquire.records import PlanFacts
from student_trainer.acquire.selection.choice import METHODS, RANDOM
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.recipe import Recipe


def choice_is_nested(facts: PlanFacts) -> bool:
    """Whether a smaller plan would have bought the first of these images.

    Then the subsets are those. A random choice has no first: any subset of it is as good a smaller plan, and
    drawing another for each seed shows how much the choice matters.
    """
    return facts.strategy != RANDOM and METHODS[facts.strategy].nested and not facts.earlier


def bought_in_order(transfer_set: Path) -> bool:
    """The same of a transfer set.

    Raises:
        StorageFailed: it is damaged.
    """
    with TransferSet.open(transfer_set) as opened:
        return choice_is_nested(opened.facts)


def nested_rows(digests: Sequence[str], seed: int, *, in_order_of_choice: bool) -> list[int]:
    """All rows in an order of which each subset is the beginning.

    Args:
        digests: of the images that can be learned from, in the order of choice.
        seed: draws the order.
        in_order_of_choice: a smaller plan would have bought just the first images, so nothing is drawn.
    """
    return list(range(len(digests))) if in_order_of_choice else drawn_order(digests, f"curve {seed}")


def drawn_order(digests: Sequence[str], draw: str) -> list[int]:
    """All rows, shuffled by the images' digests and the name of the draw."""
    return sorted(range(len(digests)), key=lambda row: sha256_hex(f"{draw}:{digests[row]}".encode()))


def sparse_rows(
    teacher: NDArray[np.float32], order: Sequence[int], tau: float, at_most: int, size: int
) -> list[int]:
    """Rows of [n, D] that have at most ``at_most`` of each other above ``tau``; up to ``size`` of them.

    Taken greedily in the given order: an image is left out if with it some chosen image, or itself, would
    have more neighbours among the chosen than allowed (Laskar and Kannala 2020, Section 7, Table 7).
    """
    units = teacher / np.linalg.norm(teacher, axis=1, keepdims=True)
    chosen: list[int] = []
    taken = np.empty((min(size, len(order)), units.shape[1]), dtype=units.dtype)
    counts = np.zeros(len(taken), dtype=np.int64)
    for row in order:
        if len(chosen) == len(taken):
            break
        near = taken[: len(chosen)] @ units[row] > tau
        if near.sum() > at_most or (counts[: len(chosen)][near] >= at_most).any():
            continue
        counts[: len(chosen)] += near
        counts[len(chosen)] = near.sum()
        taken[len(chosen)] = units[row]
        chosen.append(row)
    return chosen


def recipe_for(recipe: Recipe, seed: int, size: int, largest: int, *, equal_steps: bool) -> Recipe:
    """The recipe of a cell: another seed and, with ``equal_steps``, as many steps as at the largest size.

    Epochs, the epochs whose weights are averaged and the decay of the learning rate, which counts epochs,
    are stretched alike; so the learning rate falls as far. They are never shortened: more images than the
    largest size have the recipe's epochs.
    """
    document: dict[str, Any] = recipe.model_dump()
    # Cells are measured by themselves, and a size of 500 shall mean 500 images that were learned from.
    del document["validation"]
    document["training"]["seed"] = seed
    if equal_steps:
        per_batch = max(1, recipe.training.images_per_batch)  # 0 is refused where the training begins
        steps, most = math.ceil(size / per_batch), math.ceil(largest / per_batch)
        _stretch(document, max(1.0, most / steps))
    return Recipe.model_validate(document)


def _stretch(document: dict[str, Any], factor: float) -> None:
    training, averaging = document["training"], document["averaging"]
    training["epochs"] = round(training["epochs"] * factor)
    training["learning_rate_decay"] /= factor
    averaging["epochs"] = [round(epoch * factor) for epoch in averaging["epochs"]]
