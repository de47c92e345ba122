"""A complete run folder: drawn images, real networks, a real transfer set and a real certificate."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nacl.signing import SigningKey
from PIL import Image, ImageDraw

from shared.certificate import Certificate, build_certificate
from shared.chain import ZERO_HASH, Genesis, Item, Link, Settle, Window, link
from shared.checkpoints import save_network
from shared.network import NetworkSpec, build_network
from shared.receipts import LedgerHead, Receipt, SignedHead, SignedReceipt, delivery_digest
from shared.vectors import descriptor_digest, encode_rows
from student_trainer.acquire.records import PlanFacts, PlannedImage, Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.manifest import Entry
from student_trainer.evaluate.comparison import compare
from student_trainer.evaluate.contestant import Contestant
from student_trainer.evaluate.document import BEFORE, STUDENT, TEACHER
from student_trainer.evaluate.gallery import gallery_of
from student_trainer.evaluate.labelled_document import Source
from student_trainer.evaluate.provenance import held
from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder

REVISION = "5e" * 32
IMAGES = [f"{number:064x}" for number in range(1, 5)]
KEY = SigningKey(bytes(range(32)))
OTHER_KEY = SigningKey(bytes(32))
VECTORS = np.eye(4, dtype=np.float32)
HUES = {
    "arch": (150, 60, 40),
    "dome": (50, 90, 150),
    "tower": (70, 120, 60),
    "<script>alert(1)</script>": (90, 90, 90),
}


def draw(root: Path) -> list[Entry]:
    """Four labels with six views each; view 0 is the query. One label tries to be a script."""
    entries = []
    for label, hue in HUES.items():
        folder = root / label.replace("/", "∕")
        folder.mkdir(parents=True)
        for view in range(6):
            random = np.random.default_rng([view, *hue])
            image = Image.new("RGB", (72, 54), tuple(int(value) for value in random.integers(150, 240, 3)))
            left, top = (int(value) for value in random.integers(5, 25, 2))
            ImageDraw.Draw(image).ellipse((left, top, left + 35, top + 25), fill=hue)
            path = folder / f"view {view} & <b>.png"
            image.save(path)
            entries.append(Entry(path, label, "test", view == 0))
    return entries


def certificate_by(
    key: SigningKey, descriptors: dict[str, str], budget: int = 10, window: Window = "total"
) -> tuple[Certificate, SignedReceipt]:
    """What a service with this key would certify after one request for all the descriptors."""
    items = tuple(Item(image=image, descriptor=digest, charged=True) for image, digest in descriptors.items())
    genesis = link(
        Genesis(
            key_id="k1", seq=0, at_ms=1, name="test", budget=budget, window=window, billing="distinct"
        ),
        ZERO_HASH,
    )  # fmt: skip
    settled = link(
        Settle(
            key_id="k1", seq=1, at_ms=2, request_id="r1", teacher_revision=REVISION, charged=len(items),
            replayed=0, used_after=len(items), items=items,
        ),
        genesis.hash,
    )  # fmt: skip
    shared = {
        "key_id": "k1",
        "seq": 1,
        "ledger_head": settled.hash,
        "budget": budget,
        "teacher_revision": REVISION,
    }
    receipt = SignedReceipt.by(
        key,
        Receipt(
            **shared, request_id="r1", charged=len(items), replayed=0, used_after=len(items),
            delivery_digest=delivery_digest(items), issued_at_ms=1_700_000_000_000,
        ),
    )  # fmt: skip
    head = SignedHead.by(key, LedgerHead(**shared, used=len(items), issued_at_ms=1_700_000_000_000))
    chain: list[Link] = [genesis, settled]
    return build_certificate(chain, head, [receipt], dict.fromkeys(descriptors, 1)), receipt


def buy(run: RunFolder, vectors: np.ndarray = VECTORS, key: SigningKey = KEY) -> Certificate:
    """A transfer set of four descriptors and the certificate that fits it."""
    planned = [PlannedImage(image, Path(f"/private/{image[-1]}.jpg"), "JPEG", 9, 20, 30) for image in IMAGES]
    TransferSet.create(
        run.transfer_set, PlanFacts("random", 3, "folder /private/owner/holiday"), chosen=planned
    )
    descriptors = {image: descriptor_digest(row) for image, row in zip(IMAGES, vectors, strict=True)}
    certificate, receipt = certificate_by(key, descriptors)
    public_key = bytes(key.verify_key).hex()
    with TransferSet.open(run.transfer_set) as transfer_set:
        transfer_set.set_teacher(
            Teacher("http://127.0.0.1:1", "k1", "distinct", public_key, REVISION, "resnet101-gem", 4, True)
        )
        with transfer_set.transaction():
            execute = transfer_set.connection.execute
            execute("INSERT INTO receipts VALUES (1, ?)", (receipt.model_dump_json(),))
            for image, row in zip(IMAGES, vectors, strict=True):
                execute("INSERT INTO descriptors VALUES (?, ?, 1)", (image, encode_rows(row)))
    return certificate


def train(run: RunFolder) -> None:
    """Leave behind what a training leaves; the weights are random."""
    notes = {"transfer_set": held(run.transfer_set).digest}
    spec = NetworkSpec("mobilenet_v2-320x0.25")
    save_network(build_network(spec, seed=1), run.initial_student, notes)
    save_network(build_network(spec, seed=2), run.student, notes)
    Recipe.model_validate({"images": {"longest_side_px": 48}}).write(run.recipe)
    with run.metrics.open("w") as file:
        for step in range(1, 31):
            event = {"event": "step", "step": step, "epoch": 1, "loss": 0.5 / step, "seconds": 0.25}
            file.write(json.dumps(event) + "\n")
        file.write('{"event": "epoch", "epoch": 1, "step": 30, "loss": 0.1}\n{"event": "step", "st')


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with everything, made once; tests work on copies."""
    root = tmp_path_factory.mktemp("publish")
    run = RunFolder.create(root / "run & <b>bold")
    certificate = buy(run)
    run.certificate.write_text(certificate.model_dump_json())
    train(run)
    contestants = [
        Contestant(TEACHER, run.initial_student, 64),
        Contestant(BEFORE, run.initial_student, 48),
        Contestant(STUDENT, run.student, 48, "rank-mixup", 4),
        Contestant("</svg><script>$x$", run.student, 48, "rank"),
    ]
    gallery = gallery_of(draw(root / "photographs"))
    compare(contestants, gallery, Source(root / "photographs" / "list <1>.csv", "test")).write(run.evaluation)
    return run.root


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Iterator[RunFolder]:
    """A copy of the finished run, to take parts away from."""
    copy = tmp_path / finished.name
    shutil.copytree(finished, copy)
    return RunFolder(copy)


@pytest.fixture
def certified_by():
    """Replace the certificate by one for other descriptors, from another service, or of another window."""

    def replace(
        run: RunFolder,
        *,
        vectors: np.ndarray = VECTORS,
        other_service: bool = False,
        window: Window = "total",
    ) -> None:
        descriptors = {image: descriptor_digest(row) for image, row in zip(IMAGES, vectors, strict=True)}
        certificate, _ = certificate_by(OTHER_KEY if other_service else KEY, descriptors, window=window)
        run.certificate.write_text(certificate.model_dump_json())

    return replace
