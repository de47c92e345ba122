"""How many images each row learns from here, where the paper's numbers may not be at hand.

In: the paper's numbers in a table, and how many images were bought. Out: for each of its numbers ours.
"""

from collections.abc import Iterable

from student_trainer.errors import InvalidInput
from student_trainer.trials.sizes import SMALLEST, named_sizes


def sizes_here(declared: Iterable[int], available: int, wish: str | None = None) -> dict[int, int]:
    """The paper's number -> ours.

    As the paper has it where enough were bought. Otherwise all numbers of the table shrink by one factor, so
    that the largest takes every bought image and the ratios between the rows stay.

    Args:
        declared: the numbers in one table.
        available: images that were bought.
        wish: ``500,1000,2000``, ours for the table's numbers in ascending order.

    Raises:
        InvalidInput: the wish is not as many whole numbers, or one is too small or more than there is.
    """
    numbers = sorted(set(declared))
    if wish is not None:
        return dict(zip(numbers, _wished(wish, numbers, available), strict=True))
    if not numbers:
        return {}
    factor = min(1.0, available / numbers[-1])
    return {number: max(min(SMALLEST, available), round(factor * number)) for number in numbers}


def _wished(wish: str, numbers: list[int], available: int) -> tuple[int, ...]:
    wished = named_sizes(wish, available)
    if len(wished) != len(numbers):
        named = ", ".join(f"{number:,}" for number in numbers) or "none"
        raise InvalidInput(
            f"--sizes {wish}: the table has {len(numbers)} numbers of images ({named}), so give as many."
        )
    return wished
