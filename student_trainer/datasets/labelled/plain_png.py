"""Arrays of pixels as PNG files whose bytes follow from the pixels alone.

In: uint8 [H, W, 3]. Out: the bytes of a PNG file, or files.

An image is bought under the SHA-256 of its bytes, so the same pixels have to make the same bytes on every
machine and in ten years. An encoder's bytes change with the version of its compressor: here nothing is
compressed. Source: "Portable Network Graphics Specification" (W3C); RFC 1950 and 1951 for stored blocks.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.whole_files import write_whole
from student_trainer.errors import StorageFailed

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BITS_RGB = b"\x08\x02\x00\x00\x00"
"""Depth, colours; deflate, filters, no interlacing."""
_ZLIB_HEADER = b"\x78\x01"
_LARGEST_BLOCK = 65_535


def plain_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of RGB pixels uint8 [H, W, 3], H and W at least 1.

    Raises:
        ValueError: another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"A PNG is made of uint8 [H, W, 3], got {pixels.dtype} {list(pixels.shape)}.")
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter, 0: none
    rows[:, 1:] = pixels.reshape(height, -1)
    content = rows.tobytes()
    packed = b"".join([_ZLIB_HEADER, *_stored(content), struct.pack(">I", zlib.adler32(content))])
    header = struct.pack(">II", width, height) + _EIGHT_BITS_RGB
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def write_pngs(
    paths: Sequence[Path], pixels: NDArray[np.uint8], on_looked: Callable[[], None] = lambda: None
) -> None:
    """Write n images [n, H, W, 3] to n files; a file that holds its image already stays as it is.

    Whoever reads meets a whole file, so that several programs may do this at one time.

    Raises:
        StorageFailed: a file cannot be written.
    """
    for folder in sorted({path.parent for path in paths}):
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    for path, image in zip(paths, pixels, strict=True):
        content = plain_png(image)
        if _content(path) != content:
            with _writing(path):
                write_whole(path, content)
        on_looked()


def _stored(content: bytes) -> Iterator[bytes]:
    """Blocks of deflate that hold bytes as they are."""
    for start in range(0, len(content), _LARGEST_BLOCK):
        part = content[start : start + _LARGEST_BLOCK]
        last = start + _LARGEST_BLOCK >= len(content)
        yield struct.pack("<BHH", last, len(part), len(part) ^ 0xFFFF) + part


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written: {error.strerror}. The images of this set are arrays, and are written "
            "once as files beside them: put the set into a folder that you may write to."
        ) from None
