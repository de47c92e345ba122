"""Which trainings make a curve: sizes, seeds, and the nested subsets of what is bought.

In: bought images, sizes or none, seeds. Out: for each cell the rows to learn from and the recipe to learn
by; apart from these, the rows that are held back. Everything hangs on the images' digests and the seed.
"""

import math
from collections.abc import Sequence

from shared.digest import sha256_hex
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe, ValidationSection

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""Of what is bought, where no sizes are given."""
SMALLEST = 10
"""Images in a subset: fewer can hardly be ranked."""
HELD_BACK_SHARE = 0.2
HELD_BACK_MOST = 1_000
HELD_BACK_LEAST = 20


def hold_back(digests: Sequence[str]) -> tuple[list[int], list[int]]:
    """Split bought images: (rows to learn from, rows that no cell learns from), each in order.

    A fifth is held back, at most 1,000. Which, depends on the images' bytes alone.

    Raises:
        InvalidInput: too few are bought to hold any back.
    """
    count = min(HELD_BACK_MOST, round(HELD_BACK_SHARE * len(digests)))
    if count < HELD_BACK_LEAST:
        needed = math.ceil(HELD_BACK_LEAST / HELD_BACK_SHARE)
        raise InvalidInput(
            f"{len(digests):,} descriptors are bought; without labels a curve needs {needed} or more, since "
            "a fifth is held back to measure on. Buy more, or give labelled images with --manifest."
        )
    drawn = _drawn(digests, "held back")
    held = set(drawn[:count])
    return [row for row in range(len(digests)) if row not in held], sorted(held)


def sizes_of(wish: str | None, available: int) -> tuple[int, ...]:
    """``500,1000,2000`` -> (500, 1000, 2000); None -> an eighth, a quarter, half and all of ``available``.

    Raises:
        InvalidInput: not whole numbers, too small, or more than there is.
    """
    if wish is None:
        sizes = {round(share * available) for share in SHARES}
        return tuple(sorted(size for size in sizes if size >= min(SMALLEST, available)))
    try:
        chosen = sorted({int(part) for part in wish.split(",")})
    except ValueError:
        raise InvalidInput(
            f"--sizes {wish!r} is not a list of whole numbers such as 500,1000,2000."
        ) from None
    if chosen[0] < SMALLEST or chosen[-1] > available:
        raise InvalidInput(
            f"--sizes {wish}: a size must be between {SMALLEST} and the {available:,} bought images that can "
            "be learned from."
        )
    return tuple(chosen)


def nested_rows(digests: Sequence[str], seed: int, *, in_order_of_choice: bool) -> list[int]:
    """All rows in an order of which each subset is the beginning.

    Args:
        digests: of the images that can be learned from, in the order of choice.
        seed: draws the order.
        in_order_of_choice: a smaller plan would have bought just the first images, so nothing is drawn.
    """
    return list(range(len(digests))) if in_order_of_choice else _drawn(digests, f"curve {seed}")


def recipe_for(recipe: Recipe, seed: int, size: int, largest: int, *, equal_steps: bool) -> Recipe:
    """The recipe of a cell: another seed and, with ``equal_steps``, as many steps as at the largest size.

    Epochs, the epochs whose weights are averaged and the decay of the learning rate, which counts epochs,
    are stretched alike; so the learning rate falls as far.
    """
    training, averaging = recipe.training, recipe.averaging
    stretch = 1.0
    if equal_steps:
        stretch = math.ceil(largest / training.batch_size) / math.ceil(size / training.batch_size)
    training = training.model_copy(
        update={
            "seed": seed,
            "epochs": round(training.epochs * stretch),
            "learning_rate_decay": training.learning_rate_decay / stretch,
        }
    )
    averaging = averaging.model_copy(update={"epochs": tuple(round(e * stretch) for e in averaging.epochs)})
    # A curve measures by itself, and a size of 500 shall mean 500 images that were learned from.
    return recipe.model_copy(
        update={"training": training, "averaging": averaging, "validation": ValidationSection()}
    )


def _drawn(digests: Sequence[str], draw: str) -> list[int]:
    return sorted(range(len(digests)), key=lambda row: sha256_hex(f"{draw}:{digests[row]}".encode()))
