"""A small world to train in: little images of a few made-up places, and a teacher who knows the places."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from nacl.signing import SigningKey
from PIL import Image

from shared.receipts import Receipt, SignedReceipt
from student_trainer.acquire.answers import Answer
from student_trainer.acquire.outbox import Outbox
from student_trainer.acquire.records import PlanFacts, PlannedImage, Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import SourceImage, digest_files
from student_trainer.distil.train import train
from student_trainer.recipe import Recipe, load
from student_trainer.run_folder import RunFolder

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
batch_size = 9
chunk_size = 4
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
    return _bought(paint(18))


@pytest.fixture
def many(paint: Callable[[int], list[Path]]) -> TrainingData:
    """46 images of the same teacher: enough to hold some back."""
    return _bought(paint(46))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The tiny recipe trained on ``bought`` without a stop; not to be changed."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("whole")
    (root / "tiny.toml").write_text(TINY_RECIPE)
    (root / "photographs").mkdir()
    paths = [_paint(root / "photographs" / f"{index:03}.png", index) for index in range(18)]
    run = RunFolder.create(root / "run")
    train(load(root / "tiny.toml"), _bought(paths), run)
    return run


def _bought(paths: list[Path]) -> TrainingData:
    images = digest_files(paths)
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


@pytest.fixture
def write_transfer_set(tmp_path: Path) -> Callable[..., Path]:
    """Writes a transfer set as a plan and a fetch leave it; ``planned`` images are not bought yet."""

    def write(data: TrainingData, path: Path | None = None, planned: Sequence[SourceImage] = ()) -> Path:
        path = path or tmp_path / "transfer_set.sqlite"
        assert data.teacher is not None
        images = [PlannedImage(image.digest, image.path, "PNG", 1, 1, 1) for image in data.images]
        waiting = [PlannedImage(image.digest, image.path, "PNG", 1, 1, 1) for image in planned]
        TransferSet.create(path, PlanFacts("random", 0, "a folder"), [*images, *waiting])
        with TransferSet.open(path) as transfer_set:
            dim = data.teacher.shape[1]
            transfer_set.set_teacher(
                Teacher("http://t", "k1", "distinct", "cd" * 32, data.teacher_revision or "", "t", dim, True)
            )
            if images:
                outbox = Outbox(transfer_set)
                outbox.close(outbox.compose(images), Answer(data.teacher, _receipt(data)))
        return path

    return write


def _receipt(data: TrainingData) -> SignedReceipt:
    return SignedReceipt.by(
        SigningKey(bytes(32)),
        Receipt(
            key_id="k1",
            request_id="r1",
            seq=1,
            charged=len(data),
            replayed=0,
            used_after=len(data),
            budget=100,
            ledger_head="00" * 32,
            teacher_revision="ab" * 32,
            delivery_digest="00" * 32,
            issued_at_ms=0,
        ),
    )
