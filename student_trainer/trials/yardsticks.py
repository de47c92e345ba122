"""What a student is measured by: labelled images, or whatever else gives it a quality.

In: a student's checkpoint. Out: named measures, of which one is its quality. No query is spent on measuring.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from shared.checkpoints import load_network
from shared.digest import canonical_json, digest_of_list, float_text
from shared.extraction import ImageSource, describe
from shared.images import InvalidImage, Preprocessing
from shared.tensor_files import CheckpointError
from shared.vectors import Float32Rows
from shared.views import WHOLE, ImageView
from student_trainer.distil.data import TrainingData
from student_trainer.distil.threshold import choose
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.finite import require_finite
from student_trainer.evaluate.gallery import Gallery
from student_trainer.evaluate.labelled import MEASURES, search
from student_trainer.recipe import Recipe
from student_trainer.recipe_checks import THRESHOLD
from student_trainer.trials.cells import Measure
from student_trainer.trials.contents import Contents
from student_trainer.trials.words import Words


class Yardstick(Measure, Protocol):
    """A measure, one of whose numbers is the quality."""

    @property
    def drawn(self) -> str:
        """The name of that number."""

    @property
    def words(self) -> Words:
        """What it is, for people."""


@dataclass(frozen=True)
class Labelled:
    """Retrieval on labelled images, as ``evaluate`` measures it."""

    gallery: Gallery
    source: str
    """Name of the manifest."""
    longest_side_px: int
    device: str = "auto"
    scales: tuple[float, ...] = (1.0,)
    """Image scales whose descriptors are combined."""
    learned_from: int = 0
    """Bought images that are among these: said wherever the numbers stand."""
    view: ImageView = WHOLE

    drawn = "mAP"

    @property
    def words(self) -> Words:
        """See :class:`Yardstick`."""
        sentence = f"{MEASURES['map_step']}; {len(self.gallery.queries):,} queries of {self.source}."
        if self.learned_from:
            sentence += (
                f" {self.learned_from:,} of the bought images are measured on too: students that learned "
                "from them are shown better than they are."
            )
        return Words(name="mAP (step)", sentence=sentence, images=len(self.gallery.paths))

    def digest(self) -> str:
        """See :class:`Measure`."""
        gallery = self.gallery
        files = self._contents.digests
        roles = [*map(str, gallery.queries), "|", *map(str, gallery.database)]
        scales = [float_text(scale) for scale in self.scales] if self.scales != (1.0,) else []
        copies = ["copies left out"] if gallery.queries_with_copies else []  # older numbers count them
        settings = [str(self.longest_side_px), *scales, *copies]
        return digest_of_list(
            ["labelled", *files, *gallery.labels, *roles, *settings, *view_facts(self.view)]
        )

    @cached_property
    def _contents(self) -> Contents:
        return Contents(self.gallery.paths)

    def require_unchanged(self) -> None:
        """See :class:`Measure`."""
        self._contents.require_unchanged()

    def measure(self, checkpoint: Path) -> dict[str, float]:
        """The four means of ``evaluate``."""
        return self.scores(self.described(checkpoint, self.gallery.paths))

    def described(self, checkpoint: Path, paths: Sequence[ImageSource]) -> Float32Rows:
        """Descriptors of images as this yardstick takes them: float32 [n, d]."""
        return described(checkpoint, paths, self.longest_side_px, self.device, self.scales, view=self.view)

    def scores(self, rows: Float32Rows, database: Float32Rows | None = None) -> dict[str, float]:
        """The four means, of descriptors [n, d] of the gallery's images.

        ``database``, [n, d] too, describes the images that are searched where another network does.
        """
        means = search(rows, rows if database is None else database, self.gallery).means()
        values = {name: value for name, value in asdict(means).items() if name in MEASURES}
        return {self.drawn: values.pop("map_step"), **values}


def threshold(recipe: Recipe, data: TrainingData) -> float:
    """The recipe's tau; where it is ``auto`` or the objective has none, the one that fits these images."""
    named = recipe.objective.settings.get(THRESHOLD)
    if isinstance(named, float):
        return named
    assert data.teacher is not None
    return choose(data.teacher).tau


def view_facts(view: ImageView) -> list[str]:
    """What a measure's digest says of a view; nothing of the whole image, of which it never spoke."""
    return [] if view == WHOLE else [canonical_json(view.description()).decode()]


def described(
    checkpoint: Path,
    paths: Sequence[ImageSource],
    side_px: int,
    device: str,
    scales: Sequence[float] = (1.0,),
    *,
    view: ImageView = WHOLE,
) -> Float32Rows:
    """Descriptors of images by a network on disk: float32 [n, d].

    Raises:
        InvalidInput: the checkpoint or an image cannot be read, or a descriptor is not finite.
    """
    try:
        prepared = Preprocessing(side_px, view=view)
        rows = describe(
            load_network(checkpoint), paths, side_px, scales, device=device, preprocessing=prepared
        )
    except CheckpointError as error:
        raise InvalidInput(f"The checkpoint {checkpoint}: {error}") from None
    except (InvalidImage, OSError) as error:
        raise InvalidInput(f"An image to measure on cannot be read: {error}") from None
    require_finite(rows, paths, str(checkpoint))
    return rows
