"""Descriptors of the candidates by the student's own network, kept so that planning again is quick.

In: a network, the size of its images, and a folder to keep descriptors in. Out: float32 rows of unit
length. No query is spent: the teacher is not asked.

Rows are kept in parts as they are made, so a plan that is interrupted continues. The folder's name holds
the digest of the network's weights and of how images are prepared: rows of two networks are never mixed.
"""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.checkpoints import weights_digest
from shared.digest import digest_of_document, digest_of_list
from shared.extraction import describe
from shared.images import InvalidImage, Preprocessing
from shared.network import DescriptorNet
from shared.vectors import Float32Rows
from shared.views import WHOLE, ImageView
from shared.whole_files import write_whole
from student_trainer.acquire.records import PlannedImage
from student_trainer.errors import InvalidInput, StorageFailed

IMAGES_IN_A_PART = 1_024
"""Described between two writes: at most this much work is lost."""


@dataclass(frozen=True)
class Describer:
    """A network that looks at candidates."""

    network: DescriptorNet
    longest_side_px: int
    device: str = "auto"
    cache: Path | None = None
    """Where rows are kept; None to keep none."""
    on_images: Callable[[int], None] = lambda n: None
    """Called with the number of images that are done, those kept from before included."""
    view: ImageView = WHOLE

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared."""
        return Preprocessing(self.longest_side_px, view=self.view)

    @property
    def identity(self) -> str:
        """Digest of the weights, the architecture and the preparation of images."""
        return digest_of_document(
            {
                "network": self.network.spec.description(),
                "weights": weights_digest(self.network),
                "preprocessing": self.preprocessing.description(),
            }
        )

    def __call__(self, images: Sequence[PlannedImage]) -> Float32Rows:
        """Rows [n, dim] in the order of ``images``.

        Raises:
            InvalidInput: a file cannot be read any more, or the device is not there.
            StorageFailed: the rows cannot be kept.
        """
        folder = None if self.cache is None else self.cache / f"described-{self.identity[:16]}"
        known = {} if folder is None else _read(folder, self.network.dim)
        # By digest: what is described together decides the last bits, and must not depend on names.
        new = sorted((i for i in images if i.digest not in known), key=lambda image: image.digest)
        self.on_images(len(images) - len(new))
        for start in range(0, len(new), IMAGES_IN_A_PART):
            part = new[start : start + IMAGES_IN_A_PART]
            rows = self._describe(part)
            _check_finite(part, rows)
            if folder is not None:
                _write(folder, part, rows)
            known.update(zip((image.digest for image in part), rows, strict=True))
        if not images:
            return np.empty((0, self.network.dim), dtype=np.float32)
        return np.stack([known[image.digest] for image in images])

    def _describe(self, images: Sequence[PlannedImage]) -> Float32Rows:
        paths = [image.path for image in images]
        try:
            return describe(
                self.network,
                paths,
                self.longest_side_px,
                device=self.device,
                preprocessing=self.preprocessing,
                on_progress=self.on_images,
            )
        except (OSError, InvalidImage) as error:
            raise InvalidInput(f"A candidate cannot be read any more: {error}. Plan again.") from None
        except ValueError as error:
            raise InvalidInput(f"--device: {error}") from None


def _check_finite(images: Sequence[PlannedImage], rows: Float32Rows) -> None:
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise InvalidInput(
            f"The network gives no finite descriptor for {int(bad.sum()):,} candidates, the first "
            f"{images[int(np.argmax(bad))].path}: choose with other weights, or by --selection random."
        )


def _read(folder: Path, dim: int) -> dict[str, Float32Rows]:
    """The rows that are kept; a part that cannot be read is described again."""
    known: dict[str, Float32Rows] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as part:
                digests, rows = part["digests"], part["rows"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            continue
        if rows.shape == (len(digests), dim) and rows.dtype == np.float32:
            known.update(zip(digests.tolist(), rows, strict=True))
    return known


def _write(folder: Path, images: Sequence[PlannedImage], rows: Float32Rows) -> None:
    """Keep a part, whole or not at all; two plans at a time write the same part or different ones."""
    digests = [image.digest for image in images]
    path = folder / f"{digest_of_list(digests)[:16]}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: np.savez(file, digests=np.array(digests), rows=rows))
    except OSError as error:
        raise StorageFailed(f"The candidates' descriptors cannot be kept in {folder}: {error}.") from None
