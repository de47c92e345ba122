"""PNG files whose bytes follow from the pixels: any decoder reads them, and they never change."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from shared.digest import sha256_hex
from shared.images import ImageLimits, admit
from student_trainer.datasets.labelled.plain_png import plain_png, write_pngs
from student_trainer.errors import StorageFailed

pictures = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda s: arrays(np.uint8, (*s, 3)))


@given(pictures)
def test_what_is_written_is_what_any_decoder_reads(
    tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray
) -> None:
    path = tmp_path_factory.getbasetemp() / "picture.png"
    path.write_bytes(plain_png(pixels))
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(image), pixels)


def test_a_large_picture_takes_several_blocks(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(plain_png(pixels))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), pixels)


def test_the_bytes_are_those_of_every_machine_and_version() -> None:
    """A descriptor is bought under this digest."""
    pixels = np.arange(32 * 32 * 3, dtype=np.int64).astype(np.uint8).reshape(32, 32, 3)
    content = plain_png(pixels)
    assert len(content) == 3_172
    assert sha256_hex(content) == "580c2013f1c76c8ed9e955b9c84a99de89eb720fb7dc5f718825feda46fd0e0f"


def test_a_teacher_takes_them() -> None:
    header = admit(plain_png(np.zeros((32, 32, 3), np.uint8)), ImageLimits())
    assert (header.format, header.width, header.height) == ("PNG", 32, 32)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 2, 3)),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros((2, 2, 4), np.uint8),
    ],
)
def test_other_shapes_and_types_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"A PNG is made of uint8 \[H, W, 3\]"):
        plain_png(pixels)


def test_a_folder_that_takes_no_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "png").touch()
    with pytest.raises(
        StorageFailed, match=r"png cannot be written: .*put the set into a folder that you may"
    ):
        write_pngs([tmp_path / "png" / "a.png"], np.zeros((1, 2, 2, 3), np.uint8))
    (tmp_path / "b.png").mkdir()
    with pytest.raises(StorageFailed, match=r"b\.png cannot be written"):
        write_pngs([tmp_path / "b.png"], np.zeros((1, 2, 2, 3), np.uint8))
    assert not list(tmp_path.glob(".*"))
