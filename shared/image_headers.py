"""What an encoded image claims to be: format and dimensions, read from its first bytes alone.

In: the bytes of a JPEG, PNG or WebP file. Out: format, width and height, or the reason for a refusal.
Nothing is decoded and nothing of the image's size is allocated: Pillow's WebP reader would allocate the
whole canvas, twice, before one could ask how large it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

MAX_HEADER_SEGMENTS = 4096
"""Segments or chunks before the pixels: real files have a few dozen, a hostile one millions."""
MAX_JPEG_SCANS = 100
"""A progressive JPEG has about ten; each scan walks over all pixels, however few bytes it takes."""

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_WEBP_ANIMATED = 0x02

_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
)
"""(offset, bytes, name) of formats that are refused by name rather than as unknown bytes."""


class InvalidImage(ValueError):
    """The bytes are not an image that can be described; the message says why."""


class ImageTooLarge(InvalidImage):
    """More bytes or more pixels than the limits allow."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the first bytes say. ``width`` and ``height`` are the stored ones, before any EXIF rotation."""

    format: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """What decoding costs."""
        return self.width * self.height


def read_header(data: bytes) -> ImageHeader:
    """Format and dimensions of a still JPEG, PNG or WebP image.

    Raises:
        InvalidImage: empty, not an image, another format, animated, or cut within its header.
    """
    if not data:
        raise InvalidImage("The image is empty (0 bytes).")
    format_, size_of = _recognise(data)
    try:
        width, height = size_of(data)
    except IndexError:
        raise _cut(format_, len(data)) from None
    if width < 1 or height < 1:
        raise InvalidImage(f"The {format_} header claims {width} x {height} pixels.")
    return ImageHeader(format_, width, height)


def _recognise(data: bytes) -> tuple[str, Callable[[bytes], tuple[int, int]]]:
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG", _jpeg_size
    if data.startswith(_PNG_SIGNATURE):
        return "PNG", _png_size
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP", _webp_size
    for offset, mark, name in _OTHER_FORMATS:
        if data.startswith(mark, offset):
            raise InvalidImage(f"{name} is not accepted; send JPEG, PNG or WEBP.")
    raise InvalidImage(
        f"Not an image: {len(data):,} bytes that start with {data[:8].hex(' ')}; send JPEG, PNG or WEBP."
    )


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments up to the first scan; a thumbnail within EXIF is stepped over, not believed."""
    size: tuple[int, int] | None = None
    at = 2
    for _ in range(MAX_HEADER_SEGMENTS):
        at = data.find(b"\xff", at)
        if at < 0:
            raise _cut("JPEG", len(data))
        marker = data[at + 1]
        if marker in (0x00, 0xFF) or marker in _JPEG_WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _JPEG_END:
            raise InvalidImage("The JPEG ends before any pixels.")
        length = _big(data, at + 2, 2)
        if marker == _JPEG_SCAN:
            return _checked_jpeg(data, at, size)
        if marker in _JPEG_FRAMES:
            if size is not None:
                raise InvalidImage("The JPEG declares its size twice.")
            size = _big(data, at + 7, 2), _big(data, at + 5, 2)
            if data[at + 4] != 8:
                raise InvalidImage(f"A JPEG of {data[at + 4]} bits a sample is not accepted; 8 are.")
        at += 2 + length
    raise InvalidImage(f"The JPEG has more than {MAX_HEADER_SEGMENTS:,} segments before its pixels.")


def _checked_jpeg(data: bytes, scan_at: int, size: tuple[int, int] | None) -> tuple[int, int]:
    if size is None:
        raise InvalidImage("The JPEG never declares its size.")
    # Within coded pixels 0xFF is always escaped, so these two bytes are a scan (or lie in a thumbnail).
    scans = data.count(b"\xff\xda", scan_at)
    if scans > MAX_JPEG_SCANS:
        raise InvalidImage(f"The JPEG has {scans:,} scans; at most {MAX_JPEG_SCANS} are accepted.")
    return size


def _png_size(data: bytes) -> tuple[int, int]:
    size = _big(data, 16, 4), _big(data, 20, 4)
    if data[12:16] != b"IHDR":
        raise InvalidImage("The PNG does not start with its header chunk.")
    at = 8
    for _ in range(MAX_HEADER_SEGMENTS):
        length, kind = _big(data, at, 4), _part(data, at + 4, 4)
        if kind == b"IDAT":
            return size
        if kind == b"IEND":
            raise InvalidImage("The PNG ends before any pixels.")
        if kind == b"acTL" and _big(data, at + 8, 4) > 1:
            raise InvalidImage(f"The PNG is animated ({_big(data, at + 8, 4)} frames); send one still image.")
        at += 12 + length
    raise InvalidImage(f"The PNG has more than {MAX_HEADER_SEGMENTS:,} chunks before its pixels.")


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = _part(data, 12, 4)
    if kind == b"VP8X":
        size = _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
        if data[20] & _WEBP_ANIMATED:
            raise InvalidImage("The WEBP is animated; send one still image.")
        return size
    if kind == b"VP8 ":
        size = _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
        if data[20] & 1 or data[23:26] != b"\x9d\x01\x2a":
            raise InvalidImage("The WEBP does not start with a key frame.")
        return size
    if kind == b"VP8L":
        bits = _little(data, 21, 4)
        if data[20] != 0x2F:
            raise InvalidImage("The WEBP's lossless header is damaged.")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise InvalidImage(f"The WEBP holds {kind!r} where its image should be.")


def _part(data: bytes, at: int, length: int) -> bytes:
    """A slice; IndexError past the end, where a plain one would be silently short."""
    part = data[at : at + length]
    if len(part) < length:
        raise IndexError(at)
    return part


def _big(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(_part(data, at, length), "big")


def _little(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(_part(data, at, length), "little")


def _cut(format_: str, length: int) -> InvalidImage:
    return InvalidImage(f"The {format_} image is truncated: {length:,} bytes end within its header.")
