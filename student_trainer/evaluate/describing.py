"""The descriptors of many images by one network, kept on disk so that a second evaluation is quick.

In: a network, image files and perhaps the parts of them to describe. Out: rows that can be searched. Rows are
kept in parts as they are made: what is interrupted continues, and a million images need no memory.

A part is known by the network's weights, the preparation of images, the scales, and of each file its path,
size and time of change; photographs are not read again to recognise them.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from shared.checkpoints import weights_digest
from shared.digest import digest_of_document, digest_of_list, float_text
from shared.extraction import Corners, describe
from shared.images import InvalidImage, Preprocessing
from shared.network import DescriptorNet
from shared.views import WHOLE, ImageView
from shared.whole_files import write_whole
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate.finite import require_finite
from student_trainer.evaluate.ranking import Float32Rows
from student_trainer.evaluate.search.blocks import Rows
from student_trainer.evaluate.search.stored import FileRows, Joined

IMAGES_IN_A_PART = 2_048
"""Described between two writes: at most this much work is lost."""

Boxes: TypeAlias = Sequence[Corners | None]


class Sight(Protocol):
    """A model that gives images their descriptors: a network at hand, or a teacher that was asked."""

    @property
    def dim(self) -> int:
        """Length of a descriptor."""

    def rows(self, paths: Sequence[Path], boxes: Boxes | None = None) -> Float32Rows:
        """See :meth:`Describer.rows`."""

    def stored(self, paths: Sequence[Path], boxes: Boxes | None = None, *, half: bool = False) -> Rows:
        """See :meth:`Describer.stored`."""


@dataclass(frozen=True)
class Describer:
    """A network, how it looks at images, and where its rows are kept."""

    network: DescriptorNet
    longest_side_px: int
    scales: tuple[float, ...] = (1.0,)
    device: str = "auto"
    cache: Path | None = None
    """None keeps nothing."""
    apply_exif: bool = True
    """Off for the public benchmarks, whose boxes and published numbers ignore the EXIF orientation."""
    on_images: Callable[[int], None] = lambda images: None
    """Called with the number of images done; those that were kept count as done at once."""
    view: ImageView = WHOLE
    name: str = "The network"
    """What a refusal calls it."""
    _identity: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def dim(self) -> int:
        """See :class:`Sight`."""
        return self.network.dim

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared."""
        return Preprocessing(self.longest_side_px, apply_exif=self.apply_exif, view=self.view)

    @property
    def identity(self) -> str:
        """Digest of the weights, the architecture, the preparation of images and the scales."""
        if not self._identity:
            self._identity.append(
                digest_of_document(
                    {
                        "network": self.network.spec.description(),
                        "weights": weights_digest(self.network),
                        "preprocessing": self.preprocessing.description(),
                        "scales": [float_text(scale) for scale in self.scales],
                    }
                )
            )
        return self._identity[0]

    def rows(self, paths: Sequence[Path], boxes: Boxes | None = None) -> Float32Rows:
        """float32 [n, dim] in memory, row i of unit length for ``paths[i]``.

        Args:
            paths: image files.
            boxes: per image the part to describe, or None for all of it.

        Raises:
            InvalidInput: an image cannot be read, or its descriptor is not finite.
            StorageFailed: the rows cannot be kept.
        """
        return np.asarray(self.stored(paths, boxes)[:], dtype=np.float32)

    def stored(self, paths: Sequence[Path], boxes: Boxes | None = None, *, half: bool = False) -> Rows:
        """The same on disk (where there is a cache), part by part; ``half``: in float16.

        Raises:
            InvalidInput, StorageFailed: as :meth:`rows`.
        """
        chosen = [None] * len(paths) if boxes is None else list(boxes)
        dtype = np.dtype("<f2" if half else "<f4")
        parts = [
            self._part(paths[start:stop], chosen[start:stop], dtype)
            for start in range(0, len(paths), IMAGES_IN_A_PART)
            for stop in [min(start + IMAGES_IN_A_PART, len(paths))]
        ]
        return Joined(parts) if parts else np.empty((0, self.network.dim), dtype=np.float32)

    def _part(self, paths: Sequence[Path], boxes: Boxes, dtype: np.dtype[np.floating]) -> Rows:
        if self.cache is None:
            return self._described(paths, boxes).astype(dtype, copy=False)
        name = digest_of_list([_mark(path, box) for path, box in zip(paths, boxes, strict=True)])
        file = self.cache / f"descriptors-{self.identity[:16]}" / f"{name[:32]}.{dtype.str[1:]}"
        shape = (len(paths), self.network.dim)
        if _size(file) == shape[0] * shape[1] * dtype.itemsize:
            self.on_images(len(paths))
        else:
            _write(file, self._described(paths, boxes).astype(dtype, copy=False))
        return FileRows(file, shape, dtype)

    def _described(self, paths: Sequence[Path], boxes: Boxes) -> Float32Rows:
        try:
            rows = describe(
                self.network,
                paths,
                self.longest_side_px,
                scales=self.scales,
                boxes=boxes,
                device=self.device,
                preprocessing=self.preprocessing,
                on_progress=self.on_images,
            )
        except (InvalidImage, OSError) as error:
            raise InvalidInput(f"An image cannot be read: {error} Mend it, or get it again.") from None
        require_finite(rows, paths, self.name)
        return rows


def _mark(path: Path, box: Corners | None) -> str:
    """What a file is recognised by."""
    try:
        found = path.stat()
    except OSError as error:
        raise InvalidInput(f"The image {path} cannot be read: {error.strerror}.") from None
    part = "" if box is None else " ".join(map(float_text, box))
    name = os.fsencode(os.path.realpath(path)).decode("utf-8", "backslashreplace")
    return f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0{part}"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _write(file: Path, rows: np.ndarray) -> None:
    """A part, whole or not at all: two evaluations may describe the same images at a time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, rows.tobytes())
    except OSError as error:
        raise StorageFailed(
            f"Descriptors cannot be kept in {file.parent}: {error}. Make room and run the same command "
            "again: it continues."
        ) from None
