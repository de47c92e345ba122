"""The images that were bought, and the parts of them that rows learn from.

In: a transfer set that was bought once. Out: training data for a seed and a size; no query is spent.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from shared.vectors import Float32Rows
from student_trainer.acquire.records import PlannedImage
from student_trainer.acquire.selection.choice import METHODS
from student_trainer.distil.data import TrainingData
from student_trainer.errors import InvalidInput
from student_trainer.trials.subsets import nested_rows, sparse_rows


class TooDense(InvalidInput):
    """No sparse set can be cut from what was bought."""


@dataclass(frozen=True)
class Pool:
    """What was bought, and how smaller sets are cut from it."""

    data: TrainingData
    in_order_of_choice: bool
    """A smaller plan would have bought the first of these images, so they are the smaller set; otherwise
    each seed draws its own."""
    tau: float
    """Above which two images are neighbours, for the sparse setting."""
    planned: tuple[PlannedImage, ...]
    """The images as a plan knows them, which chooses among them again."""
    _parts: dict[tuple[int, int, int | None, bool], TrainingData] = field(default_factory=dict, repr=False)

    def part(
        self, seed: int, size: int, sparse: int | None = None, *, at_random: bool = False
    ) -> TrainingData:
        """``size`` images, or with ``sparse`` as many as can be had up to that; rows of one seed share them.

        Args:
            seed: draws them, where they have no order of choice.
            size: how many.
            sparse: at most so many of the others are above tau.
            at_random: draw them in any case: they stand beside images that a strategy chose.

        Raises:
            TooDense: fewer than two images are sparse enough.
        """
        key = (seed, size, sparse, at_random)
        if key not in self._parts:
            order = self._order(seed, in_order_of_choice=self.in_order_of_choice and not at_random)
            self._parts[key] = self.data.take(sorted(self._rows(order, size, sparse)))
        return self._parts[key]

    def selected(self, seed: int, size: int, strategy: str, look: Callable[[], Float32Rows]) -> TrainingData:
        """``size`` images as ``plan --selection`` would have chosen them among all that were bought.

        Args:
            seed: draws the order in which the strategy sees them, as a plan's does.
            size: how many.
            strategy: a name of ``METHODS``.
            look: descriptors of all, [n, d] of unit length, by a network that costs no query.
        """
        order = self._order(seed, in_order_of_choice=False)
        chosen = METHODS[strategy].strategy(look()[order], [], size)
        return self.data.take(sorted(order[place] for place in chosen))

    def _order(self, seed: int, *, in_order_of_choice: bool) -> list[int]:
        digests = [image.digest for image in self.data.images]
        return nested_rows(digests, seed, in_order_of_choice=in_order_of_choice)

    def _rows(self, order: list[int], size: int, sparse: int | None) -> list[int]:
        if sparse is None:
            return order[:size]
        assert self.data.teacher is not None
        rows = sparse_rows(self.data.teacher, order, self.tau, sparse, size)
        if len(rows) < 2:
            raise TooDense(
                f"only {len(rows)} of {len(self.data):,} bought images have at most {sparse} others above "
                f"tau = {self.tau:g}, too few for a sparse set"
            )
        return rows
