"""``student-trainer codes``: the signs of the hash layer, in bits, of the images that are named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from made_datasets import make_cub200
from PIL import Image
from typer.testing import CliRunner

from shared.checkpoints import load_network, save_network, weights_digest
from shared.extraction import describe
from shared.network import NetworkSpec, build_network
from student_trainer.cli import app
from student_trainer.distil.heads import Head, save_head
from student_trainer.errors import InvalidInput
from student_trainer.publish.code_files import read_codes
from student_trainer.run_folder import RunFolder

BITS = 20


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two folders of three drawn images each, and ``manifest.csv`` beside them."""
    root, random = tmp_path / "photographs", np.random.default_rng(0)
    for label in ("arch", "dome"):
        (root / label).mkdir(parents=True)
        for view in range(3):
            pixels = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{view}.png")
    rows = [f"{label}/{view}.png,{label}" for label in ("arch", "dome") for view in range(3)]
    (root / "manifest.csv").write_text("\n".join(["path,label", *rows]))
    return root


@pytest.fixture
def manifest(photographs: Path) -> Path:
    return photographs / "manifest.csv"


@pytest.fixture
def hashed(run: RunFolder) -> RunFolder:
    """The run folder with a hash layer of its student."""
    student = load_network(run.student)
    layer = Head("hash", student.dim, BITS, bias=True, seed=4)
    save_head(layer, run.head, objective="dch", student_digest=weights_digest(student))
    return run


def codes(run: RunFolder, out: Path, *options: str | Path) -> Result:
    command = ["codes", "--run", run.root, "--out", out, *options]
    return CliRunner().invoke(app, [str(part) for part in command])


def expected(run: RunFolder, images: list[Path]) -> np.ndarray:
    student = load_network(run.student)
    rows = torch.from_numpy(describe(student, images, 48))
    layer = Head("hash", student.dim, BITS, bias=True, seed=4)
    values = (rows * student.dim**0.5) @ layer.linear.weight.T + layer.linear.bias
    return np.packbits(values.detach().numpy() > 0, axis=1)


def test_a_folder_becomes_the_signs_of_its_hash_layer(
    hashed: RunFolder, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "codes.npz"
    result = codes(hashed, out, "--images", photographs / "arch", "--json")
    printed = json.loads(result.stdout)
    images = sorted((photographs / "arch").iterdir())
    found = read_codes(out)
    np.testing.assert_array_equal(found.codes, expected(hashed, images))
    assert found.paths == tuple(image.name for image in images)
    assert (printed["file"], printed["images"], printed["bits"], printed["bytes"]) == (str(out), 3, BITS, 3)
    assert printed["student"] == weights_digest(load_network(hashed.student))


def test_a_manifest_gives_its_own_paths_to_be_joined_by(
    hashed: RunFolder, manifest: Path, tmp_path: Path
) -> None:
    manifest.write_text("path,split\narch/0.png,test\n./arch/1.png,test\ndome/0.png,train\n")
    result = codes(hashed, tmp_path / "codes.bin", "--manifest", manifest, "--split", "test")
    assert f"2 codes of 20 bits, 6 bytes: manifest {manifest} (split test)." in result.stdout
    found = read_codes(tmp_path / "codes.bin")
    assert found.paths == ("arch/0.png", "./arch/1.png")
    assert found.about["images_root"] == "manifest.csv"


def test_a_list_gives_its_own_paths_and_a_folder_paths_from_it(
    hashed: RunFolder, photographs: Path, tmp_path: Path
) -> None:
    (photographs / "list.txt").write_text("dome/2.png\n")
    codes(hashed, tmp_path / "codes.npz", "--image-list", photographs / "list.txt")
    assert read_codes(tmp_path / "codes.npz").paths == ("dome/2.png",)
    (photographs / "manifest.csv").unlink()
    (photographs / "list.txt").unlink()
    shutil.rmtree(photographs / "dome")
    codes(hashed, tmp_path / "codes.npz", "--images", photographs)
    found = read_codes(tmp_path / "codes.npz")
    assert found.paths == ("arch/0.png", "arch/1.png", "arch/2.png")
    assert found.about["images_root"] == "photographs"


def test_of_a_public_set_the_split_that_evaluate_measures_is_written_and_named(
    hashed: RunFolder, tmp_path: Path
) -> None:
    root = make_cub200(tmp_path)
    result = codes(hashed, tmp_path / "codes.npz", "--dataset", "cub200", "--root", root)
    assert f"12 codes of 20 bits, 36 bytes: cub200 {root} (split test)." in result.stdout
    paths = read_codes(tmp_path / "codes.npz").paths
    assert all((root / path).is_file() for path in paths)
    other = codes(hashed, tmp_path / "c.npz", "--dataset", "cub200", "--root", root, "--split", "train")
    assert "(split train)" in other.stdout
    assert not set(read_codes(tmp_path / "c.npz").paths) & set(paths)


def test_a_file_that_is_replaced_is_named_before(hashed: RunFolder, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "codes.npz"
    assert "This replaces" not in codes(hashed, out, "--manifest", manifest).stderr
    assert f"This replaces {out}. To keep that" in codes(hashed, out, "--manifest", manifest).stderr


def test_a_run_folder_that_is_not_there_is_answered_with_how_to_train_one(tmp_path: Path) -> None:
    result = codes(RunFolder(tmp_path / "nothere"), tmp_path / "codes.npz", "--images", tmp_path)
    assert "student-trainer train --run" in str(result.exception)
    assert "--objective csq" in str(result.exception)


def test_without_a_hash_layer_it_says_how_to_get_one(run: RunFolder, manifest: Path, tmp_path: Path) -> None:
    result = codes(run, tmp_path / "codes.npz", "--manifest", manifest)
    assert isinstance(result.exception, InvalidInput)
    assert "has no hash layer" in str(result.exception) and "--objective csq" in str(result.exception)


def test_a_projection_is_no_hash_layer(run: RunFolder, manifest: Path, tmp_path: Path) -> None:
    student = load_network(run.student)
    save_head(
        Head("projection", student.dim, 8), run.head, objective="mse", student_digest=weights_digest(student)
    )
    assert "has no hash layer" in str(codes(run, tmp_path / "c.npz", "--manifest", manifest).exception)


def test_a_hash_layer_of_another_student_is_refused(
    hashed: RunFolder, manifest: Path, tmp_path: Path
) -> None:
    save_network(build_network(NetworkSpec(load_network(hashed.student).spec.arch), seed=9), hashed.student)
    result = codes(hashed, tmp_path / "codes.npz", "--manifest", manifest)
    assert isinstance(result.exception, InvalidInput)
    assert "was trained with another student" in str(result.exception)


def test_a_damaged_hash_layer_is_refused(hashed: RunFolder, manifest: Path, tmp_path: Path) -> None:
    hashed.head.write_bytes(hashed.head.read_bytes()[:50])
    assert isinstance(codes(hashed, tmp_path / "codes.npz", "--manifest", manifest).exception, InvalidInput)


def test_what_was_described_is_not_described_again(hashed: RunFolder, manifest: Path, tmp_path: Path) -> None:
    codes(hashed, tmp_path / "codes.npz", "--manifest", manifest)
    [kept] = [file for file in hashed.cache.rglob("*") if file.is_file()]
    written = kept.stat().st_mtime_ns
    assert codes(hashed, tmp_path / "codes.npz", "--manifest", manifest).exit_code == 0
    assert kept.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            [],
            "Give one source of images: --images DIR, --manifest FILE, --image-list FILE or --dataset NAME;",
        ),
        (["--images", ".", "--split", "test"], "--split is for --manifest and --dataset: a folder"),
        (["--images", ".", "--device", "abacus"], "--device"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: list[str], message: str, hashed: RunFolder, tmp_path: Path
) -> None:
    result = codes(hashed, tmp_path / "codes.npz", *options)
    assert isinstance(result.exception, InvalidInput) and message in str(result.exception)


def test_the_name_of_the_file_is_looked_at_before_any_image(hashed: RunFolder, tmp_path: Path) -> None:
    result = codes(hashed, tmp_path / "codes.txt", "--images", tmp_path / "nowhere")
    assert "names codes.txt" in str(result.exception)
