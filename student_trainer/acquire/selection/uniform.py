"""``random``: a uniform choice without replacement, the baseline that every other strategy has to beat.

In: rows in the order that the seed draws. Out: the first that are free.
"""

from collections.abc import Sequence

from shared.vectors import Float32Rows
from student_trainer.acquire.selection.strategy import free_rows


def uniform(rows: Float32Rows, chosen: Sequence[int], wanted: int) -> list[int]:
    """The next ``wanted`` of the drawn order. Nested: 500 images begin with the 250."""
    return [int(index) for index in free_rows(len(rows), chosen)[:wanted]]
