"""The training images, decoded once and kept as 8-bit pixels in one memory-mapped file.

In: image files, each with the digest it was bought under, and the size to bring them to. Out: chunks of
equal shape, ready for the trunk.

Decoding a photograph costs as much as a small trunk's work on it, and a training reads every image twice
in each epoch: so it is done once, and the operating system keeps the file in memory where there is room
(362 px, 4,000 images: about 1.2 GB). Images keep their aspect ratio, so a chunk holds images of one shape;
nothing is padded. Crops are cut when a batch is handed out (:mod:`student_trainer.distil.views`): the file
holds what they are cut from.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.digest import digest_of_document, sha256_hex
from shared.images import InvalidImage, Preprocessing, decode, load_pixels
from shared.whole_files import write_whole
from student_trainer.distil.arrays import ArrayStore, cut, ends, map_file, remove_stores
from student_trainer.errors import InvalidInput, StorageFailed

_DECODED_AHEAD = 64
"""Images decoded at one time; bounds the memory of building the file."""


@dataclass(frozen=True)
class SourceImage:
    """A file, and the SHA-256 that its bytes must have."""

    path: Path
    digest: str


@dataclass(frozen=True)
class PixelStore(ArrayStore):
    """Decoded images, uint8 [H, W, 3] each, in the order of the sources that could be read."""

    readable: tuple[int, ...]
    """Positions, among the sources, of the images held here."""
    unreadable: Mapping[Path, str]
    """The other files, and why they could not be read."""

    def take(self, indices: Sequence[int]) -> Self:
        """The images ``indices`` alone, in that order, of the same file."""
        kept = super().take(indices)
        return replace(kept, readable=tuple(self.readable[index] for index in indices))


def digest_files(paths: Iterable[Path]) -> list[SourceImage]:
    """Sources whose digests are those of the files as they are now.

    Raises:
        InvalidInput: a file cannot be opened.
    """
    return [SourceImage(path, sha256_hex(_read(path))) for path in paths]


def require_unchanged(sources: Iterable[SourceImage]) -> None:
    """Read every file, one after the other; for who then takes the images by their paths.

    Raises:
        InvalidInput: a file cannot be opened, or holds other bytes than it is known by; the message names it.
    """
    for source in sources:
        _read_unchanged(source)


def open_store(
    folder: Path,
    sources: Sequence[SourceImage],
    preprocessing: Preprocessing,
    on_image: Callable[[], None] = lambda: None,
    *,
    side_multiple_px: int = 1,
) -> PixelStore:
    """Decode the sources into ``folder``, or reuse what was decoded there from the same bytes.

    Args:
        folder: where the file of pixels goes; an older one of other images or sizes is removed.
        sources: the images.
        preprocessing: how they are brought to size; a crop of its view is left for later.
        on_image: called as each image is done.
        side_multiple_px: sides are rounded to a multiple of it, so that fewer shapes make larger chunks.

    Raises:
        InvalidInput: a file is missing, or is not the one that was bought; the message names it.
        StorageFailed: the disk is full.
    """
    preprocessing = replace(preprocessing, view=replace(preprocessing.view, crop_px=None))
    key = digest_of_document(
        {
            "images": [source.digest for source in sources],
            "preprocessing": preprocessing.description(),
            "side_multiple_px": side_multiple_px,
        }
    )
    pixels, index = folder / f"pixels-{key[:16]}.u8", folder / f"pixels-{key[:16]}.json"
    if not (index.exists() and pixels.exists()):
        try:
            _build(pixels, index, sources, partial(_decode, preprocessing, side_multiple_px), on_image)
        except OSError as error:
            with suppress(OSError):  # make room again
                pixels.unlink(missing_ok=True)
            raise StorageFailed(f"Cannot write the decoded images to {folder}: {error}.") from None
    return _open(pixels, json.loads(index.read_text()), sources)


def _build(
    pixels: Path,
    index: Path,
    sources: Sequence[SourceImage],
    decode_source: Callable[[SourceImage], NDArray[np.uint8] | str],
    on_image: Callable[[], None],
) -> None:
    """Write the pixels, then the index: what has an index is whole."""
    pixels.parent.mkdir(parents=True, exist_ok=True)
    remove_stores(pixels.parent, "pixels-*")
    shapes: list[tuple[int, int] | str] = []
    with pixels.open("wb") as file, ThreadPoolExecutor() as pool:
        for block in cut(sources, _DECODED_AHEAD):
            for decoded in pool.map(decode_source, block):
                if isinstance(decoded, str):
                    shapes.append(decoded)
                else:
                    shapes.append((decoded.shape[0], decoded.shape[1]))
                    file.write(decoded.data)
                on_image()
    write_whole(index, json.dumps(shapes))


def _open(path: Path, shapes: Sequence[Any], sources: Sequence[SourceImage]) -> PixelStore:
    """``shapes`` holds for each source [height, width], or the reason why it could not be read."""
    readable = tuple(i for i, shape in enumerate(shapes) if not isinstance(shape, str))
    unreadable = {sources[i].path: shape for i, shape in enumerate(shapes) if isinstance(shape, str)}
    kept = tuple((int(shapes[i][0]), int(shapes[i][1]), 3) for i in readable)
    stops = [0, *ends(kept)]
    return PixelStore(map_file(path, np.uint8, stops[-1]), tuple(stops[:-1]), kept, readable, unreadable)


def _decode(
    preprocessing: Preprocessing, side_multiple_px: int, source: SourceImage
) -> NDArray[np.uint8] | str:
    """Pixels, or the reason why there are none."""
    data = _read_unchanged(source)
    try:
        if side_multiple_px == 1:
            return np.ascontiguousarray(load_pixels(data, preprocessing))
        image = decode(data, apply_exif=preprocessing.apply_exif)
    except InvalidImage as error:
        return str(error)
    return np.array(_with_round_sides(image, preprocessing.longest_side_px, side_multiple_px))


def _with_round_sides(image: Image.Image, longest_side_px: int, multiple_px: int) -> Image.Image:
    """Resized once, to the multiples nearest to the sides that it would have had."""
    scale = min(1.0, longest_side_px / max(image.size))
    width, height = (max(1, round(side * scale / multiple_px)) * multiple_px for side in image.size)
    if (width, height) == image.size:
        return image
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _read_unchanged(source: SourceImage) -> bytes:
    data = _read(source.path)
    if (found := sha256_hex(data)) != source.digest:
        raise InvalidInput(
            f"{source.path} has changed: its SHA-256 is {found[:12]}, and its descriptor was bought for "
            f"{source.digest[:12]}. Put the original back, or plan and fetch a new run."
        )
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"Cannot read the image {path}: {error.strerror or error}.") from None
