"""How an evaluation states what a student's binary codes are worth.

In: the fields below. Out: a part of the evaluation document, and the same in words.
"""

from student_trainer.evaluate.protocol import Part

Interval = tuple[float, float]


class HammingScores(Part):
    """Retrieval by Hamming distance, with the same queries and the same database as by descriptors."""

    bits: int
    map: float
    """Mean over queries of the step average precision of the whole ranking."""
    map_interval: Interval
    """95 % interval."""
    map_at: dict[int, float]
    """The same of the first k images, for each k that is less than the database."""
    parameters: int
    """Of the student and its hash layer."""
    multiply_adds: int | None
    """Of both, for one square image; None where the student takes no squares of its image size."""

    @property
    def sentence(self) -> str:
        """In words, of a student that is named before."""
        at = "".join(f", mAP@{k:,} {score:.3f}" for k, score in self.map_at.items())
        low, high = self.map_interval
        return (
            f"codes of {self.bits} bits by Hamming distance: mAP {self.map:.3f} [{low:.3f}, {high:.3f}]{at}; "
            f"images at one distance count in the mean over all of their orders. With its hash layer it has "
            f"{self._size()}"
        )

    def _size(self) -> str:
        parameters = f"{self.parameters:,} parameters"
        if self.multiply_adds is None:
            return parameters
        return f"{parameters} and takes {self.multiply_adds / 1e9:.4g} G multiply-adds"
