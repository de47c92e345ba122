"""The way to the paper's tables, on tiny copies of the public files: every command, the service a process."""

import hashlib
from pathlib import Path

import pytest
import torch
from command_line import Trainer, json_trainer
from made_benchmarks import make_old, make_revisited, make_sfm120k
from made_public_networks import calibrated_resnet18, public_content
from PIL import Image

from shared.checkpoints import load_network
from student_trainer.demo.teacher_process import create_key, running_teacher

QUERIES = 16
TINY = (
    *("--set", "student.arch=resnet18-64", "--set", "student.weights=random"),
    *("--set", "images.longest_side_px=48", "--set", "training.epochs=1", "--set", "averaging.epochs=[1]"),
    *(
        "--set",
        "training.batch_size=16",
        "--set",
        "training.learning_rate=1e-3",
        "--set",
        "objective.tau=auto",
    ),
)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Trainer:
    return json_trainer(monkeypatch, capsys)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """SfM-120k and the four benchmarks."""
    root = tmp_path / "data"
    make_sfm120k(root, clusters=6, images=4)
    for seed, name in enumerate(("roxford5k", "rparis6k"), 1):
        make_revisited(root, name, seed=seed)
    for seed, name in enumerate(("oxford5k", "paris6k"), 3):
        make_old(root, name, seed=seed)
    return root


@pytest.fixture
def checkpoint(data: Path, tmp_path: Path) -> Path:
    """A ResNet18-GeM in the public form, with the start of its hash in its name."""
    photographs = sorted((data / "roxford5k" / "jpg").glob("*.jpg"))
    network = calibrated_resnet18(Image.open(path) for path in photographs)
    path = tmp_path / "teacher.pth"
    torch.save(public_content(network), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(tmp_path / f"retrievalSfM120k-resnet18-gem-{digest[:7]}.pth")


def test_from_the_public_files_to_the_tables(
    trainer: Trainer, data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, service, tables = tmp_path / "run", tmp_path / "service", tmp_path / "tables"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TEACHER_API_KEY", "")

    # A public checkpoint is served, and asked once for each image.
    service.mkdir()
    serve = ("--checkpoint", str(checkpoint), "--image-size", "64", "--data-dir", str(service), "--port", "0")
    with running_teacher(serve, tmp_path / "service.log") as teacher:
        monkeypatch.setenv("TEACHER_API_KEY", create_key(service, "paper", QUERIES))
        trainer("plan", "--run", run, "--sfm120k", data, "--queries", QUERIES, "--url", teacher.address)
        trainer("fetch", "--run", run, "--url", teacher.address, "--yes")
        trainer("audit", "--run", run, "--url", teacher.address)
        proof = trainer("verify", "--run", run, "--public-key", teacher.public_key)
    assert proof["valid"] and proof["queries_charged"] == QUERIES

    # Trained, measured on a benchmark with the whitening of the other, exported.
    trainer("train", "--run", run, *TINY)
    benchmark = ("--dataset", "roxford5k", "--root", data, "--scales", "1,0.7071", "--image-size", "64")
    measured = trainer(
        "evaluate", "--run", run, *benchmark, "--teacher", checkpoint, "--whiten-on", "rparis6k"
    )
    assert {"teacher", "student"} <= measured["models"].keys()
    exported = trainer("export", "--run", run, "--out", tmp_path / "student.safetensors")
    assert load_network(exported["file"]).spec.arch == "resnet18-64"

    # And the tables, from what was bought.
    sources = ("--transfer-set", run, "--sfm120k", data, "--teacher", checkpoint, "--root", data)
    wish = ("--out", tables, "--dataset", "roxford5k,rparis6k,oxford5k,paris6k", "--image-size", "64")
    rows = (
        "--only",
        "teacher",
        "--only",
        "no-aug",
        "--only",
        "ours",
        "--only",
        "supervised-ap",
        "--seeds",
        1,
    )
    made = trainer("reproduce", "table2", "table3", *wish, *sources, *rows, *TINY)
    lines = {line["row"]: line for line in made["tables"]["table2"]["lines"]}
    for row in ("teacher", "no-aug", "ours", "supervised-ap"):
        scores = lines[row]["cells"][0]["measures"]
        assert {"ROxf E", "ROxf M", "ROxf H", "RPar M", "Oxf", "Par"} <= scores.keys()
    page = (tables / "reproduce.md").read_text()
    assert "| teacher |" in page and "Main comparison" in page
