"""Headers are read as Pillow reads them, and every strange one is refused with its reason."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shared.image_headers import (
    MAX_HEADER_SEGMENTS,
    MAX_JPEG_SCANS,
    ImageHeader,
    InvalidImage,
    read_header,
)

WRITERS = {
    "baseline JPEG": ("JPEG", {}),
    "progressive JPEG": ("JPEG", {"progressive": True, "quality": 30}),
    "PNG": ("PNG", {}),
    "lossy WebP": ("WEBP", {}),
    "lossless WebP": ("WEBP", {"lossless": True}),
}


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def photograph(width: int = 40, height: int = 30) -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=25)
@given(width=st.integers(1, 400), height=st.integers(1, 400))
def test_the_header_says_what_pillow_says(writer: str, width: int, height: int) -> None:
    format_, options = WRITERS[writer]
    data = encoded(Image.new("RGB", (width, height)), format_, **options)
    assert read_header(data) == ImageHeader(format_, width, height)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_the_header_of_every_png_mode_is_read(mode: str) -> None:
    assert read_header(encoded(Image.new(mode, (7, 5)), "PNG")) == ImageHeader("PNG", 7, 5)


def test_pixels_are_what_decoding_costs() -> None:
    assert read_header(encoded(Image.new("L", (1, 10_000)), "PNG")).pixels == 10_000


def test_a_webp_with_metadata_or_alpha_is_read_from_its_extended_header() -> None:
    data = encoded(Image.new("RGBA", (300, 200), (1, 2, 3, 4)), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    assert data[12:16] == b"VP8X"
    assert read_header(data) == ImageHeader("WEBP", 300, 200)


def test_a_thumbnail_inside_the_exif_block_is_not_taken_for_the_image() -> None:
    thumbnail = encoded(photograph(16, 12), "JPEG")
    data = encoded(photograph(80, 60), "JPEG")
    block = b"Exif\0\0" + thumbnail
    forged = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    assert read_header(forged) == ImageHeader("JPEG", 80, 60)


def test_fill_bytes_and_stray_bytes_between_jpeg_segments_are_skipped() -> None:
    data = encoded(photograph(), "JPEG")
    assert read_header(data[:2] + b"\xff\xff\xff" + data[2:]) == ImageHeader("JPEG", 40, 30)
    assert read_header(data[:2] + b"\xff\xd0\xff\x00stray" + data[2:]) == ImageHeader("JPEG", 40, 30)


def test_a_second_picture_behind_a_jpeg_is_ignored() -> None:
    data = encoded(photograph(), "MPO", save_all=True, append_images=[photograph(20, 20)])
    assert read_header(data) == ImageHeader("JPEG", 40, 30)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_cut_anywhere_in_its_header_is_called_truncated_or_no_image(writer: str) -> None:
    format_, options = WRITERS[writer]
    data = encoded(photograph(), format_, **options)
    ends = {"JPEG": data.find(b"\xff\xda"), "PNG": data.find(b"IDAT"), "WEBP": 25}
    for length in range(ends[format_]):
        with pytest.raises(InvalidImage, match=r"truncated|Not an image|empty"):
            read_header(data[:length])


@settings(max_examples=300)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8"]),
)
def test_random_bytes_are_refused_and_nothing_else_is_raised(tail: bytes, start: bytes) -> None:
    try:
        header = read_header(start + tail)
    except InvalidImage as error:
        assert str(error)
    else:
        assert header.pixels >= 1


@pytest.mark.parametrize("format_", ["GIF", "BMP", "TIFF", "AVIF"])
def test_another_format_is_refused_by_its_name(format_: str) -> None:
    with pytest.raises(InvalidImage, match=f"{format_} is not accepted; send JPEG, PNG or WEBP"):
        read_header(encoded(photograph(), format_))


def test_bytes_of_no_image_are_refused_with_their_start() -> None:
    with pytest.raises(InvalidImage, match=r"Not an image: 5 bytes that start with 68 65 6c 6c 6f"):
        read_header(b"hello")


def test_no_bytes_are_refused() -> None:
    with pytest.raises(InvalidImage, match=r"empty \(0 bytes\)"):
        read_header(b"")


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_an_animation_is_refused(format_: str) -> None:
    data = encoded(photograph(), format_, save_all=True, append_images=[photograph().rotate(90)])
    with pytest.raises(InvalidImage, match="is animated"):
        read_header(data)


def test_a_png_animation_of_a_single_frame_is_a_still_image() -> None:
    data = encoded(photograph(), "PNG")
    control = b"acTL" + struct.pack(">II", 1, 0)
    assert read_header(data[:33] + struct.pack(">I", 8) + control + b"\0\0\0\0" + data[33:]).format == "PNG"


@pytest.mark.parametrize(("width", "height"), [(0, 30), (40, 0)])
def test_a_side_of_no_pixels_is_refused(width: int, height: int) -> None:
    data = bytearray(encoded(photograph(), "PNG"))
    data[16:24] = struct.pack(">II", width, height)
    with pytest.raises(InvalidImage, match=f"claims {width} x {height} pixels"):
        read_header(bytes(data))


def test_a_jpeg_that_declares_two_sizes_is_refused() -> None:
    small, large = (encoded(photograph(side, side), "JPEG") for side in (8, 64))
    frame_at = large.find(b"\xff\xc0")
    frame = large[frame_at : frame_at + 19]
    at = small.find(b"\xff\xc0")
    with pytest.raises(InvalidImage, match="declares its size twice"):
        read_header(small[:at] + frame + small[at:])


def test_a_jpeg_without_a_size_is_refused() -> None:
    data = encoded(photograph(), "JPEG")
    at = data.find(b"\xff\xc0")
    with pytest.raises(InvalidImage, match="never declares its size"):
        read_header(data[:at] + data[at + 19 :])


def test_a_jpeg_of_twelve_bits_is_refused() -> None:
    data = bytearray(encoded(photograph(), "JPEG"))
    data[data.find(b"\xff\xc0") + 4] = 12
    with pytest.raises(InvalidImage, match="12 bits a sample"):
        read_header(bytes(data))


def test_a_jpeg_that_ends_before_its_pixels_is_refused() -> None:
    with pytest.raises(InvalidImage, match="ends before any pixels"):
        read_header(b"\xff\xd8\xff\xd9")


def test_a_png_that_ends_before_its_pixels_is_refused() -> None:
    header = encoded(photograph(), "PNG")[:33]
    with pytest.raises(InvalidImage, match="ends before any pixels"):
        read_header(header + b"\0\0\0\0IEND\0\0\0\0")


def test_a_png_without_its_header_chunk_is_refused() -> None:
    with pytest.raises(InvalidImage, match="does not start with its header chunk"):
        read_header(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIDAT" + bytes(30))


@pytest.mark.parametrize(
    ("start", "segment"),
    [
        (b"\xff\xd8", b"\xff\xfe\x00\x02"),
        (b"\xff\xd8", b"\xff\xff\xff\xff"),
        (encoded(Image.new("L", (1, 1)), "PNG")[:33], b"\0\0\0\0tEXt\0\0\0\0"),
    ],
    ids=["JPEG comments", "JPEG fill bytes", "PNG texts"],
)
def test_a_header_of_a_million_segments_is_given_up(start: bytes, segment: bytes) -> None:
    with pytest.raises(InvalidImage, match=f"more than {MAX_HEADER_SEGMENTS:,}"):
        read_header(start + segment * 1_000_000)


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    data = encoded(photograph(), "JPEG", progressive=True)
    last_scan = data[data.rfind(b"\xff\xda") : -2]
    bomb = data[:-2] + last_scan * MAX_JPEG_SCANS + data[-2:]
    with pytest.raises(InvalidImage, match=f"scans; at most {MAX_JPEG_SCANS} are accepted"):
        read_header(bomb)


def damaged_webp(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    ("lossless", "at", "value", "reason"),
    [
        (False, 12, b"ALPH", "holds b'ALPH'"),
        (False, 23, b"\0\0\0", "does not start with a key frame"),
        (False, 26, b"\0\0", "claims 0 x 30"),
        (True, 20, b"\0", "lossless header is damaged"),
    ],
)
def test_a_damaged_webp_header_is_refused(lossless: bool, at: int, value: bytes, reason: str) -> None:
    data = encoded(photograph(), "WEBP", lossless=lossless)
    with pytest.raises(InvalidImage, match=reason):
        read_header(damaged_webp(data, at, value))
