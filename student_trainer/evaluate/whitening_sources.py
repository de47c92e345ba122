"""Where the whitening of a network comes from: other photographs, matching pairs of them, or a file.

In: the network's own way of describing images. Out: a whitening for its descriptors, or None where a file
holds none that fits. Each network has its own whitening, learned in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.learned_whitening import LearnedWhitening
from shared.public_networks import read_learned_whitenings
from shared.tensor_files import CheckpointError
from shared.whitening_files import MULTI_SCALE, SINGLE_SCALE
from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.datasets.sfm120k import SfmSplit
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.describing import Sight
from student_trainer.evaluate.same_bytes import places_among
from student_trainer.evaluate.whitening import SQUARE_ROOTED, learn_from_pairs, learn_pca

_NAMED = 5


class WhiteningSource(Protocol):
    """A way to whiten."""

    @property
    def words(self) -> str:
        """What it is, for the protocol of an evaluation."""

    @property
    def images(self) -> tuple[Path, ...]:
        """What a network has to describe for it."""

    def whitening(self, sight: Sight) -> LearnedWhitening | None:
        """The whitening of the network's descriptors, with all its dimensions; None where it has none.

        Args:
            sight: the network, at the scales of the evaluation.

        Raises:
            InvalidInput: an image cannot be read, or there is too little to learn from.
        """


@dataclass(frozen=True)
class FromDatabase:
    """Square-rooted PCA of another benchmark's database, as Laskar and Kannala (2020) do."""

    benchmark: Benchmark
    power: float = SQUARE_ROOTED

    @property
    def words(self) -> str:
        """See :class:`WhiteningSource`."""
        return f"PCA on {self.benchmark.name} (eigenvalues to the power -{self.power:g})"

    @property
    def images(self) -> tuple[Path, ...]:
        """See :class:`WhiteningSource`."""
        return self.benchmark.image_paths

    def whitening(self, sight: Sight) -> LearnedWhitening:
        """See :class:`WhiteningSource`."""
        rows = sight.rows(self.images)
        try:
            return learn_pca(rows, power=self.power)
        except ValueError as error:
            raise InvalidInput(f"--whiten-on {self.benchmark.name}: {error}") from None


@dataclass(frozen=True)
class FromPairs:
    """Learned whitening (Radenovic et al. 2018) from the matching pairs of SfM-120k."""

    split: SfmSplit

    @property
    def words(self) -> str:
        """See :class:`WhiteningSource`."""
        return f"learned on {len(self.split.pairs):,} matching pairs of SfM-120k, {self.split.name}"

    @property
    def images(self) -> tuple[Path, ...]:
        """See :class:`WhiteningSource`; images that stand in no pair need not be there."""
        paths = self.split.paths
        return tuple(paths[place] for place in self._used)

    @property
    def _used(self) -> NDArray[np.int64]:
        """Places of the images that stand in a pair."""
        return np.unique(np.concatenate([self.split.pairs.queries, self.split.pairs.positives]))

    def whitening(self, sight: Sight) -> LearnedWhitening:
        """See :class:`WhiteningSource`."""
        pairs, used = self.split.pairs, self._used
        rows = sight.rows(self.images)
        queries, positives = (np.searchsorted(used, side) for side in (pairs.queries, pairs.positives))
        try:
            return learn_from_pairs(rows, queries, positives)
        except ValueError as error:
            raise InvalidInput(f"--whiten-on {self.split.root.name}: {error}") from None


@dataclass(frozen=True)
class FromFile:
    """A whitening that was learned before: of our own file, or out of a public checkpoint."""

    path: Path
    learned_on: str
    found: LearnedWhitening

    images = ()

    @property
    def words(self) -> str:
        """See :class:`WhiteningSource`."""
        return f"{self.path.name}, learned on {self.learned_on}"

    def whitening(self, sight: Sight) -> LearnedWhitening | None:
        """See :class:`WhiteningSource`."""
        return self.found if self.found.dim == sight.dim else None


def require_apart(learned_on: Sequence[Path], measured: Benchmark, option: str) -> None:
    """A whitening knows the images that it was learned on: it is not to be measured on them.

    Args:
        learned_on: the images of a whitening; those of a benchmark are told by their bytes, not their names.
        measured: database and queries.
        option: what named the whitening, for the refusal.

    Raises:
        InvalidInput: some are measured on; they are counted, and the first five named. Or a file cannot be
            read.
    """
    places = places_among(learned_on, (*measured.image_paths, *measured.query_paths))
    both = [path for path, found in zip(learned_on, places, strict=True) if len(found)]
    if both:
        named = "\n  ".join(map(str, both[:_NAMED]))
        more = f"\n  and {len(both) - _NAMED:,} more" if len(both) > _NAMED else ""
        raise InvalidInput(
            f"{option}: {len(both):,} of its {len(learned_on):,} images have the bytes of images that "
            f"{measured.name} measures on. Learn the whitening on other ones, as of Paris for Oxford. These "
            f"are among both:\n  {named}{more}"
        )


def open_file(path: Path, scales: tuple[float, ...], learned_on: str | None = None) -> FromFile:
    """The whitening of a file that is for these scales.

    Args:
        path: a file of ours, or a public checkpoint that brings whitenings along.
        scales: several take what was learned on several.
        learned_on: which, where the file has several.

    Raises:
        InvalidInput: the file cannot be read, or holds none, several, or none of that name.
    """
    try:
        found = read_learned_whitenings(path)
    except CheckpointError as error:
        raise InvalidInput(f"--whitening: {error}") from None
    kind = MULTI_SCALE if len(scales) > 1 else SINGLE_SCALE
    fitting: Mapping[str, LearnedWhitening] = {
        name: kinds[kind] for name, kinds in found.items() if kind in kinds
    }
    if learned_on is not None:
        fitting = {name: whitening for name, whitening in fitting.items() if name == learned_on}
    if len(fitting) != 1:
        held = ", ".join(f"{name} ({' and '.join(kinds)})" for name, kinds in found.items()) or "none"
        raise InvalidInput(
            f"--whitening {path}: there is not one whitening in it for {kind} "
            f"({'several scales' if kind == MULTI_SCALE else 'one scale'})"
            f"{f' of the name {learned_on}' if learned_on else ''}; it holds: {held}. "
            "Name one with --whitening FILE#NAME, and check --scales."
        )
    [(name, whitening)] = fitting.items()
    return FromFile(path, name, whitening)
