"""Bought images that no training of a curve sees, and how well a student ranks them.

In: bought images; later a checkpoint. Out: rows to learn from and rows to measure on, which hang on the
images' digests alone; overlap and average precision. Needs no label, and spends no query.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.digest import digest_of_list, float_text
from shared.views import WHOLE, ImageView
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import require_unchanged
from student_trainer.distil.label_free import score
from student_trainer.errors import InvalidInput
from student_trainer.trials.subsets import drawn_order
from student_trainer.trials.words import Words
from student_trainer.trials.yardsticks import described, view_facts

K = 10
SHARE = 0.2
"""Of what was bought."""
MOST, LEAST = 1_000, 20
"""Images."""


def hold_back(digests: Sequence[str]) -> tuple[list[int], list[int]]:
    """Split bought images: (rows to learn from, rows that no cell learns from), each in order.

    A fifth is held back, at most 1,000. Which, depends on the images' bytes alone.

    Raises:
        InvalidInput: too few are bought to hold any back.
    """
    count = min(MOST, round(SHARE * len(digests)))
    if count < LEAST:
        needed = math.ceil(LEAST / SHARE)
        raise InvalidInput(
            f"{len(digests):,} descriptors are bought; without labels a curve needs {needed} or more, since "
            "a fifth is held back to measure on. Buy more, or give labelled images with --manifest."
        )
    drawn = drawn_order(digests, "held back")
    held = set(drawn[:count])
    return [row for row in range(len(digests)) if row not in held], sorted(held)


@dataclass(frozen=True)
class HeldBack:
    """How a student ranks held-back images, beside how the teacher ranks them; needs no label."""

    data: TrainingData
    tau: float
    """For average precision alone; overlap needs no threshold."""
    longest_side_px: int
    device: str = "auto"
    view: ImageView = WHOLE

    drawn = f"overlap@{K}"

    @property
    def words(self) -> Words:
        """See :class:`student_trainer.trials.yardsticks.Yardstick`."""
        sentence = (
            f"Of the {K} images that the teacher finds nearest, the share that is among the student's "
            f"{K} nearest: mean over {len(self.data):,} bought images that were held back, each ranking "
            "the others. The teacher itself has 1."
        )
        return Words(name=self.drawn, sentence=sentence, images=len(self.data))

    def digest(self) -> str:
        """See :class:`student_trainer.trials.cells.Measure`."""
        settings = [float_text(self.tau), str(self.longest_side_px), str(K)]
        return digest_of_list(["held back", self.data.digest(), *settings, *view_facts(self.view)])

    def require_unchanged(self) -> None:
        """See :class:`student_trainer.trials.cells.Measure`."""
        require_unchanged(self.data.images)

    def measure(self, checkpoint: Path) -> dict[str, float]:
        """Overlap, and AP where some image has a neighbour above tau."""
        assert self.data.teacher is not None
        require_unchanged(self.data.images)
        paths = [image.path for image in self.data.images]
        rows = described(checkpoint, paths, self.longest_side_px, self.device, view=self.view)
        scores = score(rows, self.data.teacher, K, self.tau)
        measures = {self.drawn: scores.overlap}
        if scores.average_precision is not None:
            measures["AP"] = scores.average_precision
        return measures
