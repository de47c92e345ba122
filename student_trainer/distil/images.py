"""The training images, decoded once and kept as 8-bit pixels in one memory-mapped file.

In: image files, each with the digest it was bought under, and the size to bring them to. Out: chunks of
equal shape, ready for the trunk.

Decoding a photograph costs as much as a small trunk's work on it, and a training reads every image twice
in each epoch: so it is done once, and the operating system keeps the file in memory where there is room
(362 px, 4,000 images: about 1.2 GB). Images keep their aspect ratio, so a chunk holds images of one shape;
nothing is padded or cropped.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.digest import digest_of_document, sha256_hex
from shared.images import InvalidImage, Preprocessing, load_pixels
from student_trainer.distil.processes import ALONE, Processes
from student_trainer.errors import InvalidInput, StorageFailed

T = TypeVar("T")

_DECODED_AHEAD = 64
"""Images decoded at one time; bounds the memory of building the file."""


@dataclass(frozen=True)
class SourceImage:
    """A file, and the SHA-256 that its bytes must have."""

    path: Path
    digest: str


@dataclass(frozen=True)
class PixelChunk:
    """Images of one shape out of a batch."""

    positions: Tensor
    """long [b]: which rows of the batch these are."""
    pixels: Tensor
    """uint8 [b, H, W, 3]."""


@dataclass(frozen=True)
class PixelStore:
    """Decoded images, in the order of the sources that could be read."""

    readable: tuple[int, ...]
    """Positions, among the sources, of the images held here."""
    unreadable: Mapping[Path, str]
    """The other files, and why they could not be read."""
    _pixels: NDArray[np.uint8]
    _offsets: tuple[int, ...]
    _shapes: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.readable)

    def image(self, index: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], a view of the file."""
        height, width = self._shapes[index]
        start = self._offsets[index]
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)

    def take(self, indices: Sequence[int]) -> "PixelStore":
        """The images ``indices`` alone, in that order, of the same file."""
        return replace(
            self,
            readable=tuple(self.readable[index] for index in indices),
            _offsets=tuple(self._offsets[index] for index in indices),
            _shapes=tuple(self._shapes[index] for index in indices),
        )

    def chunks(
        self, indices: Sequence[int], chunk_size: int, *, pin: bool = False, processes: Processes = ALONE
    ) -> Iterator[PixelChunk]:
        """The images ``indices`` in chunks of one shape and at most ``chunk_size`` images.

        Several processes share out whole chunks, which are the same as those of one: a descriptor has the
        same bits whoever computes it.

        The next chunk is copied out of the file while the caller works on the last one. ``pin``: in
        page-locked memory, from where a graphics card copies at full speed.
        """
        by_shape: dict[tuple[int, int], list[int]] = {}
        for position, index in enumerate(indices):
            by_shape.setdefault(self._shapes[index], []).append(position)
        groups = [group for rows in by_shape.values() for group in _cut(rows, chunk_size)]
        mine = processes.share([len(group) * math.prod(self._shapes[indices[group[0]]]) for group in groups])

        def copy(positions: Sequence[int]) -> PixelChunk:
            pixels = torch.from_numpy(np.stack([self.image(indices[position]) for position in positions]))
            return PixelChunk(torch.tensor(positions), pixels.pin_memory() if pin else pixels)

        yield from _one_ahead(copy, [groups[place] for place in mine])


def digest_files(paths: Iterable[Path]) -> list[SourceImage]:
    """Sources whose digests are those of the files as they are now.

    Raises:
        InvalidInput: a file cannot be opened.
    """
    return [SourceImage(path, sha256_hex(_read(path))) for path in paths]


def open_store(
    folder: Path,
    sources: Sequence[SourceImage],
    preprocessing: Preprocessing,
    on_image: Callable[[], None] = lambda: None,
) -> PixelStore:
    """Decode the sources into ``folder``, or reuse what was decoded there from the same bytes.

    Args:
        folder: where the file of pixels goes; an older one of other images or sizes is removed.
        sources: the images.
        preprocessing: how they are brought to size.
        on_image: called as each image is done.

    Raises:
        InvalidInput: a file is missing, or is not the one that was bought; the message names it.
        StorageFailed: the disk is full.
    """
    key = digest_of_document(
        {"images": [source.digest for source in sources], "preprocessing": preprocessing.description()}
    )
    pixels, index = folder / f"pixels-{key[:16]}.u8", folder / f"pixels-{key[:16]}.json"
    if not index.exists():
        try:
            _build(pixels, index, sources, preprocessing, on_image)
        except OSError as error:
            with suppress(OSError):  # make room again
                pixels.unlink(missing_ok=True)
            raise StorageFailed(f"Cannot write the decoded images to {folder}: {error}.") from None
    return _open(pixels, json.loads(index.read_text()), sources)


def _build(
    pixels: Path,
    index: Path,
    sources: Sequence[SourceImage],
    preprocessing: Preprocessing,
    on_image: Callable[[], None],
) -> None:
    """Write the pixels, then the index: what has an index is whole."""
    pixels.parent.mkdir(parents=True, exist_ok=True)
    for old in pixels.parent.glob("pixels-*"):
        old.unlink()
    shapes: list[tuple[int, int] | str] = []
    with pixels.open("wb") as file, ThreadPoolExecutor() as pool:
        for block in _cut(sources, _DECODED_AHEAD):
            for decoded in pool.map(lambda source: _decode(source, preprocessing), block):
                if isinstance(decoded, str):
                    shapes.append(decoded)
                else:
                    shapes.append((decoded.shape[0], decoded.shape[1]))
                    file.write(decoded.data)
                on_image()
    partial = index.with_suffix(".part")
    partial.write_text(json.dumps(shapes))
    partial.replace(index)


def _open(path: Path, shapes: Sequence[Any], sources: Sequence[SourceImage]) -> PixelStore:
    """``shapes`` holds for each source [height, width], or the reason why it could not be read."""
    readable = tuple(i for i, shape in enumerate(shapes) if not isinstance(shape, str))
    unreadable = {sources[i].path: shape for i, shape in enumerate(shapes) if isinstance(shape, str)}
    kept = tuple((int(shapes[i][0]), int(shapes[i][1])) for i in readable)
    ends = np.cumsum([height * width * 3 for height, width in kept], dtype=np.int64)
    offsets = tuple(int(end) - height * width * 3 for end, (height, width) in zip(ends, kept, strict=True))
    if not readable:
        return PixelStore(readable, unreadable, np.empty(0, np.uint8), offsets, kept)
    if path.stat().st_size != ends[-1]:
        raise StorageFailed(f"{path} has {path.stat().st_size:,} bytes, expected {ends[-1]:,}; delete it.")
    # Copy-on-write, because torch wants writable arrays; nothing writes to it.
    return PixelStore(readable, unreadable, np.memmap(path, np.uint8, mode="c"), offsets, kept)


def _decode(source: SourceImage, preprocessing: Preprocessing) -> NDArray[np.uint8] | str:
    """Pixels, or the reason why there are none."""
    data = _read(source.path)
    if (found := sha256_hex(data)) != source.digest:
        raise InvalidInput(
            f"{source.path} has changed: its SHA-256 is {found[:12]}, and its descriptor was bought for "
            f"{source.digest[:12]}. Put the original back, or plan and fetch a new run."
        )
    try:
        return np.ascontiguousarray(load_pixels(data, preprocessing))
    except InvalidImage as error:
        return str(error)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"Cannot read the image {path}: {error.strerror or error}.") from None


def _cut(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive parts of at most ``size`` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _one_ahead(
    make: Callable[[Sequence[int]], PixelChunk], groups: Iterable[Sequence[int]]
) -> Iterator[PixelChunk]:
    """Map, with the next result made in a thread while the caller holds the last one."""
    with ThreadPoolExecutor(max_workers=1) as worker:
        waiting: Future[PixelChunk] | None = None
        for group in groups:
            following = worker.submit(make, group)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
