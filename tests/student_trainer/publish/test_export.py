"""``student-trainer export``: in either form the file holds the student, bit for bit, or is refused."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from full_disk import disk_full_at
from typer.testing import CliRunner

from shared.checkpoints import load_network, read_notes, save_network, weights_digest
from shared.learned_whitening import LearnedWhitening
from shared.network import NetworkSpec, build_network
from shared.public_networks import read_learned_whitenings
from shared.whitening_files import save_learned_whitenings
from student_trainer.cli import app
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.run_folder import RunFolder

NOTES = {"transfer_set": "5e" * 32}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("student") / "student.safetensors"
    save_network(build_network(NetworkSpec("resnet18", "mac"), seed=1), path, NOTES)
    return path


@pytest.fixture
def trained(student: Path, tmp_path: Path) -> RunFolder:
    """A run folder whose student is a ResNet18."""
    run = RunFolder.create(tmp_path / "run")
    shutil.copyfile(student, run.student)
    return run


@pytest.fixture
def whitenings(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    learned = LearnedWhitening(rng.normal(size=512).astype(np.float32), rng.normal(size=(512, 512)))
    path = tmp_path / "whitenings.safetensors"
    save_learned_whitenings(path, {"retrieval-SfM-120k": {"ss": learned, "ms": learned}})
    return path


def export(run: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["export", "--run", str(run), "--out", str(out), *options])


def refused(result: Result, kind: type[Exception]) -> str:
    assert isinstance(result.exception, kind), result.output
    return str(result.exception)


def test_the_public_form_holds_the_student_and_is_named_by_its_hash(
    trained: RunFolder, tmp_path: Path
) -> None:
    result = export(trained.root, tmp_path / "student.pth", "--json")
    printed = json.loads(result.stdout)
    file = Path(printed["file"])
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file == tmp_path / f"student-{digest[:7]}.pth"
    assert printed == {
        "file": str(file),
        "format": "cirtorch",
        "sha256": digest,
        "network": "resnet18-mac",
        "dimension": 512,
        "whitenings": [],
    }
    assert weights_digest(load_network(file)) == weights_digest(load_network(trained.student))
    assert torch.load(file, weights_only=True)["meta"]["pooling"] == "mac"


def test_our_form_holds_any_student_and_what_is_known_of_it(run: RunFolder, tmp_path: Path) -> None:
    """The student of this run is a narrow MobileNetV2."""
    out = tmp_path / "student.safetensors"
    result = export(run.root, out)
    assert result.stdout.startswith("mobilenet_v2-320x0.25-gem, descriptors of 80 values, SHA-256 ")
    assert result.stdout.endswith(f"Written: {out}\n")
    assert weights_digest(load_network(out)) == weights_digest(load_network(run.student))
    assert read_notes(out) == read_notes(run.student) != {}


def test_learned_whitenings_go_along_in_the_public_form(
    trained: RunFolder, whitenings: Path, tmp_path: Path
) -> None:
    result = export(trained.root, tmp_path / "student.pth", "--whitening", str(whitenings), "--json")
    printed = json.loads(result.stdout)
    assert printed["whitenings"] == ["retrieval-SfM-120k/ms", "retrieval-SfM-120k/ss"]
    given, taken = (read_learned_whitenings(path) for path in (whitenings, printed["file"]))
    for kind in ("ss", "ms"):
        assert (taken["retrieval-SfM-120k"][kind].mean == given["retrieval-SfM-120k"][kind].mean).all()
        assert (
            taken["retrieval-SfM-120k"][kind].projection == given["retrieval-SfM-120k"][kind].projection
        ).all()
    text = export(trained.root, tmp_path / "student.pth", "--whitening", printed["file"]).stdout
    assert "With a learned whitening: retrieval-SfM-120k/ms\n" in text


def test_a_student_that_the_public_format_has_no_name_for_is_refused_with_the_other_form(
    run: RunFolder, tmp_path: Path
) -> None:
    message = refused(export(run.root, tmp_path / "student.pth"), InvalidInput)
    assert "has no mobilenet_v2-320x0.25" in message
    assert "Use the safetensors form" in message
    assert list(tmp_path.glob("student*")) == []


def test_whitenings_of_another_network_are_refused(trained: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "whitenings.safetensors"
    save_learned_whitenings(file, {"a": {"ss": LearnedWhitening(np.zeros(4), np.eye(4))}})
    result = export(trained.root, tmp_path / "student.pth", "--whitening", str(file))
    assert "of 4-d descriptors does not fit a network of 512" in refused(result, InvalidInput)


@pytest.mark.parametrize(
    ("out", "options", "reason"),
    [
        ("a.bin", (), "a.bin: files in the form cirtorch in .pth and safetensors in .safetensors"),
        ("a", (), "a: files in the form cirtorch in .pth and safetensors in .safetensors"),
        ("a.safetensors", ("--whitening", "w.pth"), "Leave out --whitening, and hand on w.pth beside it"),
        ("a.pth", ("--whitening", "w.pth"), "There is no file w.pth"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    trained: RunFolder, tmp_path: Path, out: str, options: tuple[str, ...], reason: str
) -> None:
    assert reason in refused(export(trained.root, tmp_path / out, *options), InvalidInput)
    assert list(tmp_path.glob("a*")) == []


def test_a_run_without_a_student_says_how_to_get_one(tmp_path: Path) -> None:
    message = refused(export(tmp_path, tmp_path / "a.pth"), InvalidInput)
    assert message.endswith(f"Train one with: student-trainer train --run {tmp_path}")
    assert "There is no run folder" in refused(export(tmp_path / "none", tmp_path / "a.pth"), InvalidInput)


def test_a_damaged_student_is_refused_by_its_file(trained: RunFolder, tmp_path: Path) -> None:
    trained.student.write_bytes(trained.student.read_bytes()[:-1])
    message = refused(export(trained.root, tmp_path / "a.pth"), InvalidInput)
    assert "student.safetensors is not a whole safetensors file" in message


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_folder_that_is_not_there_is_a_wrong_argument(
    trained: RunFolder, tmp_path: Path, name: str
) -> None:
    message = refused(export(trained.root, tmp_path / "none" / name), InvalidInput)
    assert message == f"There is no folder {tmp_path / 'none'}: make it, or name another one with --out."
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_disk_that_is_full_is_named_by_the_file(trained: RunFolder, tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    with disk_full_at(1_000):
        message = refused(export(trained.root, tmp_path / "out" / name), StorageFailed)
    assert f"{name} cannot be written: File too large. Name another folder" in message
    assert not list((tmp_path / "out").iterdir())


def test_the_same_student_gives_the_same_bytes(trained: RunFolder, tmp_path: Path) -> None:
    outs = [tmp_path / f"{n}.safetensors" for n in range(6)]
    for out in outs:
        export(trained.root, out)
    assert len({out.read_bytes() for out in outs}) == 1
