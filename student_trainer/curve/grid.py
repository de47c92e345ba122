"""How large the parts of a curve are.

In: how many images can be learned from, and sizes or none. Out: sizes.
"""

from student_trainer.trials.sizes import SMALLEST, named_sizes

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""Of what is bought, where no sizes are given."""


def sizes_of(wish: str | None, available: int) -> tuple[int, ...]:
    """``500,1000,2000`` -> (500, 1000, 2000); None -> an eighth, a quarter, half and all of ``available``.

    Raises:
        InvalidInput: not whole numbers, too small, or more than there is.
    """
    if wish is None:
        sizes = {round(share * available) for share in SHARES}
        return tuple(sorted(size for size in sizes if size >= min(SMALLEST, available)))
    return named_sizes(wish, available)
