"""Strange images get a right answer, broken ones a clear 4xx that charges nothing."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shared.vectors import check_rows, decode_rows


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def picture(mode: str = "RGB", size: tuple[int, int] = (60, 45)) -> Image.Image:
    rough = np.random.default_rng(4).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC).convert(mode)


def sixteen_bit() -> bytes:
    grey = np.random.default_rng(1).integers(0, 65535, (45, 60)).astype(np.uint16)
    return encoded(Image.fromarray(grey), "PNG")


def upside_down() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 3
    return encoded(picture().transpose(Image.Transpose.ROTATE_180), "JPEG", exif=exif, quality=95)


GOOD = {
    "CMYK": encoded(picture("CMYK"), "JPEG"),
    "palette": encoded(picture("P"), "PNG"),
    "grey": encoded(picture("L"), "PNG"),
    "alpha": encoded(picture("RGBA"), "WEBP"),
    "16-bit": sixteen_bit(),
    "EXIF-rotated": upside_down(),
    "1x1": encoded(picture(size=(1, 1)), "PNG"),
    "1x10000": encoded(picture(size=(1, 10_000)), "PNG"),
    "10000x1": encoded(picture(size=(10_000, 1)), "PNG"),
}


def bomb() -> bytes:
    """A PNG whose header claims 60,000 x 60,000 pixels; its data is 70 kB of nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 70_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def animated(format_: str) -> bytes:
    frames = [picture(), picture().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return encoded(frames[0], format_, save_all=True, append_images=frames[1:], duration=100)


JPEG = encoded(picture(), "JPEG")
BAD = {
    "truncated JPEG": (JPEG[: len(JPEG) * 2 // 3], 400, "invalid_image"),
    "truncated PNG": (encoded(picture(), "PNG")[:-200], 400, "invalid_image"),
    "truncated header": (JPEG[:30], 400, "invalid_image"),
    "empty": (b"", 400, "invalid_image"),
    "text": (b"this is no image at all", 400, "invalid_image"),
    "html": (b"<!doctype html><html></html>", 400, "invalid_image"),
    "GIF": (encoded(picture("P"), "GIF"), 400, "invalid_image"),
    "TIFF": (encoded(picture(), "TIFF"), 400, "invalid_image"),
    "animated PNG": (animated("PNG"), 400, "invalid_image"),
    "animated WEBP": (animated("WEBP"), 400, "invalid_image"),
    "decompression bomb": (bomb(), 413, "image_too_large"),
}


@pytest.mark.parametrize("what", GOOD)
def test_an_unusual_image_is_described_and_costs_one(service: Any, what: str) -> None:
    key = service.key(budget=5)
    answer = service.embed(key, GOOD[what])
    assert answer.status_code == 200, answer.text
    check_rows(decode_rows(answer.content, 32), n=1, dim=32)
    assert service.usage(key)["used"] == 1


def test_a_rotated_photograph_is_turned_upright(service: Any) -> None:
    """A JPEG stored upside down with its EXIF note, and the same picture upright, look alike."""
    key = service.key()
    upright = encoded(picture(), "JPEG", quality=95)
    stored_wrongly = encoded(picture().transpose(Image.Transpose.ROTATE_180), "JPEG", quality=95)
    answer = service.embed(key, upright, upside_down(), stored_wrongly)
    rows = decode_rows(answer.content, 32)
    distances = np.linalg.norm(rows - rows[0], axis=1)
    assert distances[1] < 0.1 * distances[2]


def test_a_mislabelled_image_is_read_for_what_it_is(service: Any) -> None:
    key = service.key()
    with service.client(key) as client:
        answer = client.post("/v1/embeddings", content=JPEG, headers={"Content-Type": "image/webp"})
    assert answer.status_code == 200


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("form", ["raw", "multipart"])
def test_a_broken_image_is_refused_and_charges_nothing(service: Any, what: str, form: str) -> None:
    data, status, code = BAD[what]
    key = service.key(budget=5)
    if form == "raw":
        with service.client(key) as client:
            answer = client.post("/v1/embeddings", content=data, headers={"Content-Type": "image/jpeg"})
    else:
        answer = service.embed(key, data)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, "input[0]")
    account = service.usage(key)
    assert (account["used"], account["held"]) == (0, 0)


def test_the_refusal_names_the_first_broken_image_and_the_good_ones_cost_nothing(
    service: Any, photo: Callable[..., bytes]
) -> None:
    key = service.key(budget=5)
    cut = BAD["truncated JPEG"][0]  # its header is good: only decoding finds the fault
    answer = service.embed(key, photo(1), photo(2), cut, photo(2), cut)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_image", "input[2]")
    account = service.usage(key)
    assert (account["used"], account["held"]) == (0, 0)
    assert service.embed(key, photo(1), photo(2)).status_code == 200


def test_the_network_computes_nothing_for_a_request_that_is_refused(
    service: Any, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = type(service.service.teacher)
    described: list[int] = []
    describe = teacher.describe

    def counting(self: Any, pixels: Any, images: Any) -> Any:
        described.extend([1] * len(images))
        return describe(self, pixels, images)

    monkeypatch.setattr(teacher, "describe", counting)
    fresh = [photo(seed) for seed in range(60, 64)]
    assert service.embed(service.key(), *fresh, BAD["truncated JPEG"][0]).status_code == 400
    assert described == []
    assert service.embed(service.key(), *fresh).status_code == 200
    assert len(described) == 4
