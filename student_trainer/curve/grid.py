"""How large the parts of a curve are, and what is held back to measure on.

In: bought images, sizes or none. Out: sizes, and rows that no training sees; these hang on the images'
digests alone.
"""

import math
from collections.abc import Sequence

from student_trainer.errors import InvalidInput
from student_trainer.trials.subsets import drawn_order

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
    drawn = drawn_order(digests, "held back")
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
