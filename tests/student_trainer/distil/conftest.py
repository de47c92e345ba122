"""A small world to train in: little images of a few made-up places, and a teacher who knows the places."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import digest_files
from student_trainer.recipe import Recipe, load

PLACES = 4
TEACHER_DIM = 8

TINY_RECIPE = """
[student]
arch = "mobilenet_v2-320x0.1"
weights = "random"

[images]
longest_side_px = 32

[objective]
name = "rank-mixup"
rounds = 2

[training]
epochs = 3
batch_size = 8
chunk_size = 3
learning_rate = 1e-3
device = "cpu"

[averaging]
epochs = [2, 3]
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small matrices on few cores: more threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture
def paint(tmp_path: Path) -> Callable[[int], list[Path]]:
    """Paints images of PLACES places in turn, upright and lying, and returns their paths."""

    def paint_images(count: int) -> list[Path]:
        folder = tmp_path / "photographs"
        folder.mkdir(exist_ok=True)
        return [_paint(folder / f"{index:03}.png", index) for index in range(count)]

    return paint_images


@pytest.fixture
def bought(paint: Callable[[int], list[Path]]) -> TrainingData:
    """18 images with the descriptors of a teacher who tells the places apart."""
    images = digest_files(paint(18))
    rng = np.random.default_rng(1)
    centres = np.eye(PLACES, TEACHER_DIM)
    vectors = centres[np.arange(len(images)) % PLACES] + 0.1 * rng.standard_normal((len(images), TEACHER_DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TrainingData(tuple(images), teacher=vectors.astype(np.float32), teacher_revision="ab" * 32)


@pytest.fixture
def tiny_recipe_file(tmp_path: Path) -> Path:
    """A recipe that trains in a second."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_RECIPE)
    return path


@pytest.fixture
def tiny_recipe(tiny_recipe_file: Path) -> Recipe:
    """The same, loaded."""
    return load(tiny_recipe_file)


def _paint(path: Path, index: int) -> Path:
    place = index % PLACES
    rng = np.random.default_rng(index)
    shape = (24, 32) if index % 3 else (32, 24)
    pixels = rng.integers(0, 60, (*shape, 3))
    pixels[:, :, place % 3] += 120
    pixels[:: place + 2, :, :] += 60
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path
