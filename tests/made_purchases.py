"""A run folder whose descriptors were bought, of tiny images of a few places; a recipe that suits them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nacl.signing import SigningKey
from PIL import Image

from shared.receipts import Receipt, SignedReceipt
from student_trainer.acquire.answers import Answer
from student_trainer.acquire.outbox import Outbox
from student_trainer.acquire.records import PlanFacts, PlannedImage, Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.distil.images import SourceImage, digest_files
from student_trainer.run_folder import RunFolder

PLACES = 4
TINY_RECIPE = """
[student]
arch = "mobilenet_v2-320x0.1"
weights = "random"

[images]
longest_side_px = 24

[objective]
name = "rank"
tau = 0.7

[training]
epochs = 2
batch_size = 16
chunk_size = 16
learning_rate = 1e-3
device = "cpu"

[averaging]
epochs = [1, 2]
"""


def paint(path: Path, index: int) -> Path:
    """A view of one of a few places."""
    pixels = np.random.default_rng(index).integers(0, 90, (20, 24, 3))
    pixels[:, :, index % 3] += 120
    pixels[:: index % PLACES + 2] += 40
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def bought_run(folder: Path, n: int, facts: PlanFacts | None = None) -> RunFolder:
    """``n`` bought images below ``folder``, of a teacher that tells the places apart."""
    sources = digest_files(paint(folder / "bought" / f"{i:03}.png", i) for i in range(n))
    noise = 0.2 * np.random.default_rng(0).standard_normal((n, 8))
    rows = np.eye(PLACES, 8)[np.arange(n) % PLACES] + noise
    return bought_images(folder, sources, rows, facts)


def bought_images(
    folder: Path, sources: Sequence[SourceImage], rows: np.ndarray, facts: PlanFacts | None = None
) -> RunFolder:
    """These images, bought with the directions of these rows as their descriptors, [n, 8]."""
    run, n = RunFolder.create(folder / "run"), len(sources)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    planned = [PlannedImage(source.digest, source.path, "PNG", 1, 24, 20) for source in sources]
    TransferSet.create(run.transfer_set, facts or PlanFacts("random", 0, "a folder"), planned)
    with TransferSet.open(run.transfer_set) as transfer_set:
        teacher = Teacher("http://t", "k1", "distinct", "cd" * 32, "ab" * 32, "t", 8, True)
        transfer_set.set_teacher(teacher)
        outbox = Outbox(transfer_set)
        body = Receipt(
            request_id="r", key_id="k1", seq=1, teacher_revision="ab" * 32, charged=n, replayed=0,
            used_after=n, budget=n, ledger_head="ef" * 32, delivery_digest="ef" * 32, issued_at_ms=1,
        )  # fmt: skip
        receipt = SignedReceipt.by(SigningKey(bytes(32)), body)
        outbox.close(outbox.compose(planned), Answer(rows, receipt))
    return run
