"""The orientation of photographs, read from files; what is done about it is tested with the images."""

from pathlib import Path

import pytest
from PIL import Image

from shared.exif import is_turned


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_seven_orientations_turn_a_photograph(tmp_path: Path, format_: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (8, 6)).save(tmp_path / "image", format_, exif=exif)
    assert is_turned(tmp_path / "image") == (2 <= orientation <= 8)


def test_what_says_nothing_or_is_no_image_is_not_turned(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "plain", "JPEG")
    (tmp_path / "text").write_text("not an image")
    assert not any(is_turned(tmp_path / name) for name in ("plain", "text", "missing"))
