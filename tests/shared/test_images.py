"""Admission and decoding: a right answer or a clear refusal for every odd image, and cirtorch's resize."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shared.digest import canonical_json
from shared.images import (
    FORMATS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    PIXELS_CEILING,
    ImageHeader,
    ImageLimits,
    ImageTooLarge,
    InvalidImage,
    Preprocessing,
    admit,
    decode,
    load_pixels,
    normalise,
    read_file,
    resize,
)

LIMITS = ImageLimits()


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def photograph(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    """Smooth colours, so that lossy formats stay near them."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG written by hand: ``colour`` 0 grey, 2 RGB, 4 grey and alpha; rows start with filter byte 0."""
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
            extra,
            png_chunk(b"IDAT", zlib.compress(rows)),
            png_chunk(b"IEND", b""),
        )
    )


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def pixels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image).astype(np.int64)


# Admission


@pytest.mark.parametrize("format_", FORMATS)
def test_an_ordinary_image_is_admitted_with_its_header(format_: str) -> None:
    assert admit(encoded(photograph(), format_), LIMITS) == ImageHeader(format_, 40, 30)


def test_the_content_decides_the_format_not_the_name(tmp_path: Path) -> None:
    mislabelled = tmp_path / "really_a_jpeg.png"
    mislabelled.write_bytes(encoded(photograph(), "JPEG"))
    assert admit(mislabelled.read_bytes(), LIMITS).format == "JPEG"
    assert decode(mislabelled).size == (40, 30)


def test_admission_costs_no_pixels_a_cut_body_passes_it() -> None:
    data = encoded(photograph(400, 300), "JPEG")
    assert admit(data[: len(data) // 2], LIMITS) == ImageHeader("JPEG", 400, 300)


def test_a_decompression_bomb_is_refused_at_admission_and_by_decode() -> None:
    bomb = png(50_000, 50_000, 8, 2, bytes(100))
    assert len(bomb) < 200
    for refuse in (lambda: admit(bomb, LIMITS), lambda: decode(bomb)):
        with pytest.raises(ImageTooLarge, match=r"50,000 x 50,000 = 2,500,000,000 pixels; at most"):
            refuse()


def test_a_webp_that_claims_a_huge_canvas_is_refused_before_the_canvas_exists() -> None:
    data = bytearray(encoded(photograph().convert("RGBA"), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"))
    data[24:30] = b"\xff" * 6
    with pytest.raises(ImageTooLarge, match="16,777,216 x 16,777,216"):
        admit(bytes(data), LIMITS)


def test_a_webp_whose_canvas_and_picture_disagree_is_refused() -> None:
    data = bytearray(encoded(photograph(), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"))
    assert data[12:16] == b"VP8X"
    data[24:30] = (0).to_bytes(3, "little") * 2
    assert admit(bytes(data), LIMITS).pixels == 1
    with pytest.raises(InvalidImage, match="WEBP image is truncated or damaged"):
        decode(bytes(data))


def test_limits_are_inclusive() -> None:
    data = encoded(photograph(40, 30), "PNG")
    assert admit(data, ImageLimits(max_bytes=len(data), max_pixels=1200)).pixels == 1200
    with pytest.raises(ImageTooLarge, match=r"claims 40 x 30 = 1,200 pixels; at most 1,199 are accepted"):
        admit(data, ImageLimits(max_pixels=1199))
    with pytest.raises(
        ImageTooLarge, match=f"has {len(data):,} bytes; at most {len(data) - 1:,} are accepted"
    ):
        admit(data, ImageLimits(max_bytes=len(data) - 1))


def test_a_format_that_the_limits_leave_out_is_refused() -> None:
    with pytest.raises(InvalidImage, match=r"WEBP is not accepted; send JPEG, PNG\."):
        admit(encoded(photograph(), "WEBP"), ImageLimits(formats=("JPEG", "PNG")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"formats": ("GIF",)},
        {"formats": ()},
        {"max_bytes": 0},
        {"max_pixels": 0},
        {"max_pixels": PIXELS_CEILING + 1},
    ],
)
def test_limits_that_cannot_be_kept_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"cannot be served|must be at least"):
        ImageLimits(**wrong)  # type: ignore[arg-type]


def test_the_ceiling_is_pillows_own_so_that_it_never_warns() -> None:
    assert Image.MAX_IMAGE_PIXELS == PIXELS_CEILING


# Damaged files


@pytest.mark.parametrize(
    ("format_", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("WEBP", {"lossless": True})],
)
def test_an_image_cut_anywhere_is_refused(format_: str, options: dict[str, bool]) -> None:
    data = encoded(photograph(), format_, **options)
    for length in range(len(data)):
        with pytest.raises(InvalidImage):
            decode(data[:length])


def test_a_png_cut_within_its_pixels_is_refused() -> None:
    data = encoded(photograph(), "PNG")
    end_of_pixels = data.rfind(b"IEND") - 12
    for length in range(0, end_of_pixels - 4, 7):
        with pytest.raises(InvalidImage):
            decode(data[:length])


def test_a_png_that_holds_fewer_rows_than_it_claims_is_refused() -> None:
    with pytest.raises(InvalidImage, match=r"PNG image is truncated or damaged: image file is truncated"):
        decode(png(9_000, 9_000, 8, 2, bytes(100)))


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(encoded(photograph(), "PNG"))
    data[29] ^= 1
    with pytest.raises(InvalidImage, match="PNG image is truncated or damaged"):
        decode(bytes(data))


@settings(max_examples=150)
@given(st.sampled_from(FORMATS), st.data())
def test_a_damaged_file_is_decoded_or_refused_and_nothing_else_is_raised(
    format_: str, draw: st.DataObject
) -> None:
    data = bytearray(encoded(photograph(), format_))
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        image = decode(bytes(data))
    except InvalidImage:
        return
    assert image.mode == "RGB"


def test_a_refusal_of_a_file_names_it_and_keeps_its_kind(tmp_path: Path) -> None:
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(encoded(photograph(), "JPEG")[:-50])
    with pytest.raises(InvalidImage, match=r"cut\.jpg: The JPEG image is truncated"):
        decode(cut)
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(50_000, 50_000, 8, 2, b""))
    with pytest.raises(ImageTooLarge, match=r"bomb\.png: The image claims"):
        load_pixels(bomb, Preprocessing(32))


def test_a_file_over_the_limit_is_refused_without_being_read(tmp_path: Path) -> None:
    film = tmp_path / "film.jpg"
    with film.open("wb") as file:
        file.truncate(2**31)  # sparse: takes no room, but reading it would take 2 GiB
    with pytest.raises(ImageTooLarge, match=r"film\.jpg: 2,147,483,648 bytes"):
        decode(film)
    with pytest.raises(ImageTooLarge, match="at most 20,000,000"):
        read_file(film, LIMITS)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        decode(tmp_path / "nowhere.jpg")


# Odd pixels


MODES = {"JPEG": ("1", "L", "RGB", "CMYK"), "PNG": ("1", "L", "P", "RGB"), "WEBP": ("L", "P", "RGB")}


@pytest.mark.parametrize(
    ("format_", "mode"), [(format_, mode) for format_ in MODES for mode in MODES[format_]]
)
def test_every_mode_comes_out_as_its_rgb(format_: str, mode: str) -> None:
    image = photograph().convert(mode)
    data = encoded(image, format_, quality=100, lossless=True)
    expected = pixels(image.convert("RGB"))
    assert decode(data).mode == "RGB"
    assert np.abs(pixels(decode(data)) - expected).mean() < 2.0


def test_a_print_cmyk_jpeg_is_not_inverted() -> None:
    white = encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG", quality=95)
    assert pixels(decode(white)).min() >= 253


SIXTEEN_BITS = np.array([0, 255, 256, 32_768, 65_535], dtype=">u2")
EIGHT_BITS = [0, 0, 1, 128, 255]


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    assert pixels(decode(png(5, 1, 16, 0, b"\0" + SIXTEEN_BITS.tobytes())))[0, :, 0].tolist() == EIGHT_BITS


def test_sixteen_bit_colour_gives_the_same_pixels_as_grey() -> None:
    colour = np.repeat(SIXTEEN_BITS, 3)
    assert pixels(decode(png(5, 1, 16, 2, b"\0" + colour.tobytes())))[0, :, 0].tolist() == EIGHT_BITS


def test_sixteen_bit_grey_with_alpha_gives_the_same_pixels_where_opaque() -> None:
    interleaved = np.empty(10, dtype=">u2")
    interleaved[0::2], interleaved[1::2] = SIXTEEN_BITS, 65_535
    assert pixels(decode(png(5, 1, 16, 4, b"\0" + interleaved.tobytes())))[0, :, 0].tolist() == EIGHT_BITS


def test_thirty_two_bit_grey_in_memory_is_scaled_like_sixteen() -> None:
    image = Image.fromarray(np.array([[0, 256, 65_535, 70_000, -5]], dtype=np.int32))
    assert image.mode == "I"
    assert pixels(decode(image))[0, :, 0].tolist() == [0, 1, 255, 255, 0]


@pytest.mark.parametrize(("depth", "packed", "expected"), [(1, 0x40, 255), (2, 0x10, 85), (4, 0x05, 85)])
def test_few_grey_levels_are_spread_over_the_range(depth: int, packed: int, expected: int) -> None:
    assert pixels(decode(png(2, 1, depth, 0, bytes([0, packed]))))[0, :, 0].tolist() == [0, expected]


def test_transparent_pixels_are_laid_on_white() -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(200, 0, 0, 0), (200, 0, 0, 255), (0, 0, 0, 51)])
    for format_ in ("PNG", "WEBP"):
        shown = pixels(decode(encoded(image, format_, lossless=True, exact=True)))[0]
        assert shown.tolist() == [[255, 255, 255], [200, 0, 0], [204, 204, 204]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "I;16"])
def test_strips_give_the_same_pixels_as_one_piece(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (31, 40, 4), dtype=np.uint8)
    deep = Image.fromarray(noise.view(np.uint16)[..., 0])
    image = deep if mode == "I;16" else Image.fromarray(noise).convert("LA" if mode == "PA" else mode)
    image = image.convert("PA") if mode == "PA" else image
    whole = decode(image)
    for strip in (1, 40 * 7, 40 * 31):
        monkeypatch.setattr("shared.images._STRIP_PIXELS", strip)
        assert np.array_equal(pixels(decode(image)), pixels(whole))


def test_a_transparent_image_is_decoded_in_little_more_than_its_own_size_and_the_results() -> None:
    """A process of its own says how far its memory grew: 4 + 4 bytes a pixel, not 16."""
    script = """
import io, resource
from PIL import Image
from shared.images import decode
out = io.BytesIO()
Image.new("RGBA", (4000, 3000), (9, 8, 7, 100)).save(out, "PNG", compress_level=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - 4 * 12_000
decode(out.getvalue())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 12_000)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 10


def test_a_transparent_palette_entry_is_laid_on_white() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    shown = pixels(decode(encoded(image, "PNG", transparency=1)))[0]
    assert shown.tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


def test_the_first_picture_of_a_multi_picture_jpeg_is_decoded() -> None:
    first, second = photograph(seed=1), photograph(seed=2)
    data = encoded(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert np.abs(pixels(decode(data)) - pixels(first)).mean() < 3


# EXIF


def rotated(orientation: int, format_: str) -> tuple[Image.Image, bytes]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = photograph(40, 30)
    return image, encoded(image, format_, exif=exif.tobytes(), quality=95, lossless=True)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright_as_pillow_would(orientation: int, format_: str) -> None:
    _, data = rotated(orientation, format_)
    with Image.open(io.BytesIO(data)) as opened:
        expected = ImageOps.exif_transpose(opened.convert("RGB"))
    assert (pixels(decode(data)) == pixels(expected)).all()


def test_orientation_is_ignored_when_asked_for_cirtorchs_pixels() -> None:
    image, data = rotated(6, "PNG")
    assert (pixels(decode(data, apply_exif=False)) == pixels(image)).all()
    assert load_pixels(data, Preprocessing(20, apply_exif=False)).shape == (15, 20, 3)
    assert load_pixels(data, Preprocessing(20)).shape == (20, 15, 3)


def test_a_decoded_image_is_not_turned_a_second_time() -> None:
    _, data = rotated(6, "JPEG")
    once = decode(data)
    assert once.size == (30, 40)
    assert decode(once).size == (30, 40)
    assert (load_pixels(once, Preprocessing(40)) == load_pixels(data, Preprocessing(40))).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("block", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_damaged_exif_leaves_the_pixels_usable(block: bytes) -> None:
    assert decode(encoded(photograph(), "JPEG", exif=block)).size == (40, 30)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    image, data = rotated(orientation, "PNG")
    assert (pixels(decode(data)) == pixels(image)).all()


# Size


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((1, 1), (1, 1, 3)),
        ((1, 10_000), (362, 1, 3)),
        ((10_000, 1), (1, 362, 3)),
        ((724, 500), (250, 362, 3)),
    ],
)
def test_extreme_shapes_keep_at_least_one_pixel(
    format_: str, size: tuple[int, int], shape: tuple[int, int, int]
) -> None:
    loaded = load_pixels(encoded(Image.new("RGB", size, "navy"), format_, lossless=True), Preprocessing(362))
    assert (loaded.shape, loaded.dtype) == (shape, np.uint8)
    assert np.abs(loaded.astype(int) - (0, 0, 128)).max() <= 2


@settings(max_examples=60)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 200))
def test_the_longest_side_is_met_exactly_and_nothing_is_enlarged(
    width: int, height: int, longest_side_px: int
) -> None:
    smaller = resize(Image.new("RGB", (width, height)), longest_side_px)
    assert max(smaller.size) == min(longest_side_px, max(width, height))
    assert min(smaller.size) >= 1


def test_resizing_is_the_public_codes_thumbnail_bit_for_bit() -> None:
    image = photograph(801, 533)
    expected = image.copy()
    expected.thumbnail((200, 200), Image.Resampling.LANCZOS)
    assert (pixels(resize(image, 200)) == pixels(expected)).all()
    assert (load_pixels(encoded(image, "PNG"), Preprocessing(200)) == pixels(expected)).all()


def test_resizing_leaves_the_callers_image_alone() -> None:
    image = photograph(100, 50)
    assert resize(image, 10).size == (10, 5)
    assert load_pixels(image, Preprocessing(10)).shape == (5, 10, 3)
    assert image.size == (100, 50)


def test_an_image_that_is_small_enough_keeps_its_pixels() -> None:
    image = photograph(40, 30)
    assert (load_pixels(encoded(image, "PNG"), Preprocessing(40)) == pixels(image)).all()


# Preprocessing


def test_normalisation_is_per_channel_and_gives_channels_first() -> None:
    chosen = Preprocessing(8, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    batch = torch.tensor([[[[0, 0, 0], [255, 255, 255]]]], dtype=torch.uint8)
    out = normalise(batch, chosen)
    assert (out.shape, out.dtype) == ((1, 3, 1, 2), torch.float32)
    torch.testing.assert_close(out[0, :, 0], torch.tensor([[-1.0, 1.0], [-1.0, 3.0], [0.0, 0.5]]))


def test_normalisation_matches_torchvisions_bit_for_bit() -> None:
    from torchvision.transforms import functional

    image = photograph(31, 17)
    ours = normalise(torch.from_numpy(np.array(image))[None], Preprocessing(31))[0]
    theirs = functional.normalize(functional.to_tensor(image), list(IMAGENET_MEAN), list(IMAGENET_STD))
    assert torch.equal(ours, theirs)


def test_the_callers_pixels_are_not_changed_by_normalisation() -> None:
    batch = torch.full((1, 2, 2, 3), 7, dtype=torch.uint8)
    normalise(batch, Preprocessing(2))
    assert (batch == 7).all()


def test_a_description_tells_two_preprocessings_apart_and_holds_no_floats() -> None:
    plain = Preprocessing(362)
    others = [
        Preprocessing(363),
        Preprocessing(362, apply_exif=False),
        Preprocessing(362, mean=(0.5, 0.5, 0.5)),
    ]
    texts = {canonical_json(chosen.description()) for chosen in (plain, *others)}
    assert len(texts) == 4
    assert b'"0.485"' in canonical_json(plain.description())


def test_a_longest_side_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="longest_side_px must be at least 1, got 0"):
        Preprocessing(0)


def test_importing_images_loads_no_tensor_library() -> None:
    code = "import sys, shared.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
