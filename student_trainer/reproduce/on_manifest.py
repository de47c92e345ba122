"""Tables measured on labelled photographs: an image is relevant to a query that has its label.

In: a checkpoint. Out: mAP and mP@10; of whitened descriptors too, where a whitening can be learned from
images that are not measured on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from shared.digest import digest_of_list
from student_trainer.distil.images import SourceImage, require_unchanged
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.whitening import learn_pca
from student_trainer.recipe import Recipe
from student_trainer.reproduce.columns import Column
from student_trainer.trials.yardsticks import Labelled

_PLAIN = (
    Column("mAP, step", "mean over queries of the step average precision", key="mAP"),
    Column("mP@10", "mean precision among the first 10", tested=False),
)
_WHITENED = (
    Column("mAP, step, whitened", "mAP, step, of descriptors after square-rooted PCA", key="mAP whitened"),
    Column("mP@10 whitened", "mP@10 of descriptors after square-rooted PCA", tested=False),
)


@dataclass(frozen=True)
class OnManifest:
    """Retrieval as ``evaluate`` measures it."""

    labelled: Labelled
    whiten_on: tuple[SourceImage, ...] = ()
    """Images that each network learns its whitening from; none: not whitened."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        return (*_PLAIN, *_WHITENED) if self.whiten_on else _PLAIN

    def of(self, recipe: Recipe) -> "OnManifest":
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        return self

    @property
    def sentence(self) -> str:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        gallery, scales = self.labelled.gallery, self.labelled.scales
        looks = self.labelled.view.words(self.labelled.longest_side_px)
        several = f" and scales {', '.join(f'{scale:.2g}' for scale in scales)}" if scales != (1.0,) else ""
        whitened = (
            f" Whitenings are learned from {len(self.whiten_on):,} other images." if self.whiten_on else ""
        )
        return (
            f"{len(gallery.queries):,} queries rank {len(gallery.database):,} images of "
            f"{self.labelled.source} at {looks}{several}; relevant means "
            f"{gallery.relevant_means}.{whitened}"
        )

    @cached_property
    def _digest(self) -> str:
        whitening = [image.digest for image in self.whiten_on]
        return digest_of_list([self.labelled.digest(), *whitening]) if whitening else self.labelled.digest()

    def digest(self) -> str:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        return self._digest

    def require_unchanged(self) -> None:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        self.labelled.require_unchanged()
        require_unchanged(self.whiten_on)

    def measure(self, checkpoint: Path) -> dict[str, float]:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        rows = self.labelled.described(checkpoint, self.labelled.gallery.paths)
        values = self._named(_PLAIN, self.labelled.scores(rows))
        if not self.whiten_on:
            return values
        require_unchanged(self.whiten_on)
        others = self.labelled.described(checkpoint, [image.path for image in self.whiten_on])
        try:
            whitening = learn_pca(others)
        except ValueError as error:
            raise InvalidInput(f"The whitening of {checkpoint.name}: {error}") from None
        return values | self._named(_WHITENED, self.labelled.scores(whitening.apply(rows)))

    def _named(self, columns: Sequence[Column], scores: dict[str, float]) -> dict[str, float]:
        mean, at_ten = columns
        return {mean.key: scores[self.labelled.drawn], at_ten.key: scores["mp_at_10"]}
