"""Semi-supervised and balanced trainings from the command line, for each loss of Yu et al."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from stopped_training import StopHere, stop_at
from typer.testing import CliRunner

from shared.checkpoints import load_network
from student_trainer.distil import commands
from student_trainer.distil.data import TrainingData
from student_trainer.distil.labels import UNLABELLED
from student_trainer.distil.labels.of_bought import add_labels
from student_trainer.distil.lineage.learned import LABELS, Learned, read
from student_trainer.distil.train import train as train_student
from student_trainer.errors import InvalidInput
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder

BALANCED = ("training.sampling=balanced", "training.images_per_label=2", "training.batch_size=6")
QUICK = ("training.epochs=1", "averaging.epochs=[]")

Train = Callable[..., tuple[str, str]]


@pytest.fixture
def run(tmp_path: Path, bought: TrainingData, write_transfer_set: Callable[..., Path]) -> Path:
    """A run folder in which 18 images are bought."""
    (tmp_path / "run").mkdir()
    write_transfer_set(bought, tmp_path / "run" / "transfer_set.sqlite")
    return tmp_path / "run"


@pytest.fixture
def labels(tmp_path: Path, bought: TrainingData) -> Callable[[int], Path]:
    """Writes a manifest that names the places of the first so many images; one more stands there without."""

    def write(labelled: int) -> Path:
        rows = [f"{image.path},place{n % 4}" for n, image in enumerate(bought.images[:labelled])]
        rows += [f"{image.path}," for image in bought.images[labelled : labelled + 1]]
        path = tmp_path / "labels.csv"
        path.write_text("path,label\n" + "\n".join(rows) + "\n")
        return path

    return write


@pytest.fixture
def train(tiny_recipe_file: Path, run: Path) -> Train:
    """Runs the verb and returns both streams; errors are raised."""
    app = typer.Typer()
    app.command()(commands.train)

    def run_command(*arguments: object, changes: tuple[str, ...] = QUICK) -> tuple[str, str]:
        sets = [part for change in changes for part in ("--set", change)]
        command = ["--run", run, "--recipe", tiny_recipe_file, "--json", *arguments, *sets]
        result = CliRunner().invoke(app, [str(part) for part in command])
        if result.exception is not None:
            raise result.exception
        return result.stdout, result.stderr

    return run_command


@pytest.mark.parametrize("objective", ["lmt-absolute", "lmt-relative"])
def test_labelled_and_unlabelled_images_train_one_student_in_balanced_batches(
    train: Train, run: Path, labels: Callable[[int], Path], objective: str
) -> None:
    options = ("--objective", objective, "--manifest", labels(12), "--partly-labelled")
    printed, told = train(*options, changes=(*QUICK, *BALANCED))
    result = json.loads(printed)
    assert (result["images"], result["unlabelled"], result["steps"]) == (18, 6, 3)
    assert (result["objective"], result["labels"], result["labels_with_one_image"]) == (objective, 4, 0)
    assert "12 of 18 bought images have a label; on the other 6 the student learns from the teacher" in told
    assert "Balanced batches: 2 labels, 2 images of each." in told and "(6 without a label)" in told
    assert (run / "student.safetensors").is_file()
    assert (run / "head.safetensors").exists() is (objective == "lmt-absolute")
    assert read(run / "learned_labels.json", LABELS) == Learned(tuple(f"place{n}" for n in range(4)))


def test_labels_with_a_single_image_are_counted_and_without_any_two_refused(
    train: Train, bought: TrainingData, tmp_path: Path
) -> None:
    manifest = tmp_path / "few.csv"
    rows = [f"{image.path},{label}" for image, label in zip(bought.images, "aabc", strict=False)]
    manifest.write_text("\n".join(["path,label", *rows]))
    options = ("--objective", "lmt-relative", "--manifest", manifest, "--partly-labelled")
    printed, told = train(*options)
    assert "Labels with a single image: 2. Such an image can be a negative" in told
    assert (json.loads(printed)["labels"], json.loads(printed)["labels_with_one_image"]) == (3, 2)
    manifest.write_text("\n".join(["path,label", rows[0]]))
    with pytest.raises(InvalidInput, match="'lmt-relative' needs at least 2 labels, and there are 1 among 1"):
        train(*options, "--restart")


def test_the_batch_hard_triplet_trains_without_a_teacher(
    train: Train, labels: Callable[[int], Path], run: Path
) -> None:
    manifest = labels(18)
    printed, _ = train(
        "--objective", "batch-hard-triplet", "--manifest", manifest, changes=(*QUICK, *BALANCED)
    )
    assert json.loads(printed)["images"] == 18


def test_unlabelled_images_come_in_ordinary_batches_too(train: Train, labels: Callable[[int], Path]) -> None:
    printed, _ = train("--objective", "lmt-relative", "--manifest", labels(5), "--partly-labelled")
    assert json.loads(printed)["steps"] == 2


def test_an_objective_that_has_no_use_for_unlabelled_images_says_how_many_it_ignores(
    train: Train, labels: Callable[[int], Path]
) -> None:
    tuples = ("objective.negatives=2", "training.batch_size=8")
    _, told = train(
        "--objective",
        "asym-triplet",
        "--manifest",
        labels(12),
        "--partly-labelled",
        changes=(*QUICK, *tuples),
    )
    assert "the objective 'asym-triplet' learns nothing from the other 6." in told


def test_a_manifest_that_labels_all_images_is_said_to(train: Train, labels: Callable[[int], Path]) -> None:
    _, told = train("--objective", "lmt-relative", "--manifest", labels(18), "--partly-labelled")
    assert "18 of 18 bought images have a label: --partly-labelled changes nothing." in told


def test_without_the_option_a_manifest_must_label_all(train: Train, labels: Callable[[int], Path]) -> None:
    with pytest.raises(
        InvalidInput, match=r"1 of 13 images of the manifest .* have no label.*--partly-labelled"
    ):
        train("--objective", "lmt-relative", "--manifest", labels(12))


@pytest.mark.parametrize("arguments", [("--objective", "ap"), ("--objective", "batch-hard-triplet")])
def test_an_objective_without_a_teacher_needs_labels_for_all(
    train: Train, labels: Callable[[int], Path], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidInput, match="for an objective that learns from labels and from bought"):
        train(*arguments, "--manifest", labels(12), "--partly-labelled")


def test_a_manifest_of_other_images_is_refused(train: Train, tmp_path: Path, bought: TrainingData) -> None:
    other = tmp_path / "other.csv"
    other.write_text(f"path,label\n{bought.images[0].path},\n{tmp_path / 'labels.csv'},x\n")
    (tmp_path / "labels.csv").write_text("no image")
    with pytest.raises(InvalidInput, match="None of the 18 bought images has a label"):
        train("--objective", "lmt-relative", "--manifest", other, "--partly-labelled")


@pytest.mark.parametrize(
    ("objective", "message"),
    [("rank", "the objective learns without labels"), ("asym-triplet", "draws its own tuples")],
)
def test_balanced_sampling_where_nothing_can_be_balanced_is_refused_before_anything_is_written(
    train: Train, run: Path, labels: Callable[[int], Path], objective: str, message: str
) -> None:
    source = () if objective == "rank" else ("--manifest", labels(18))
    with pytest.raises(InvalidInput, match=message):
        train("--objective", objective, *source, changes=("training.sampling=balanced",))
    assert not (run / "recipe.toml").exists()


def test_bought_images_without_a_label_have_the_number_of_none(
    bought: TrainingData, labels: Callable[[int], Path]
) -> None:
    data = add_labels(bought, labels(12), None, partly=True)
    assert data.labels is not None
    assert data.labels.tolist() == [n % 4 for n in range(12)] + [UNLABELLED] * 6
    assert (data.unlabelled, data.label_names) == (6, tuple(f"place{n}" for n in range(4)))
    assert data.take([0, 17]).unlabelled == 1


@pytest.mark.parametrize("step", [2, 3])
def test_a_balanced_training_that_was_stopped_ends_at_the_same_bits(
    bought: TrainingData,
    labels: Callable[[int], Path],
    tiny_recipe_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    two_epochs = ("training.epochs=2", "averaging.epochs=[]")
    recipe = load(tiny_recipe_file, ["objective.name=lmt-absolute", *two_epochs, *BALANCED])
    data = add_labels(bought, labels(12), None, partly=True)
    whole, stopped = (RunFolder.create(tmp_path / name) for name in ("whole", "stopped"))
    train_student(recipe, data, whole)
    with monkeypatch.context() as patch, pytest.raises(StopHere):
        stop_at(patch, step)
        train_student(recipe, data, stopped)
    train_student(recipe, data, stopped)
    ours, theirs = (load_network(run.student).state_dict() for run in (whole, stopped))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert whole.head.read_bytes() == stopped.head.read_bytes()
