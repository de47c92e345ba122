"""``student-trainer train`` takes its data from where the objective needs them, and ignores nothing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from made_benchmarks import make_sfm120k
from made_datasets import make_cub200
from typer.testing import CliRunner

from student_trainer.distil import commands
from student_trainer.distil.data import TrainingData, from_sfm120k
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.recipe import load


def changes(*settings: str) -> list[str]:
    """As options of the command."""
    return [part for setting in settings for part in ("--set", setting)]


QUICK = ("--set", "training.epochs=1", "--set", "averaging.epochs=[]")

Train = Callable[..., str]


@pytest.fixture
def train(tiny_recipe_file: Path, tmp_path: Path) -> Train:
    """Runs the verb on the run folder ``run`` and returns what it printed; errors are raised."""
    app = typer.Typer()
    app.command()(commands.train)

    def run_command(*arguments: str | Path, recipe: str | Path = tiny_recipe_file) -> str:
        command = ["--run", tmp_path / "run", "--recipe", recipe, *arguments]
        result = CliRunner().invoke(app, [str(part) for part in command])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    return run_command


@pytest.fixture
def run(tmp_path: Path, bought: TrainingData, write_transfer_set: Callable[..., Path]) -> Path:
    """A run folder in which everything is bought."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_transfer_set(bought, folder / "transfer_set.sqlite")
    return folder


@pytest.fixture
def manifest(tmp_path: Path, bought: TrainingData) -> Path:
    rows = [f"{image.path},place{n % 4},train" for n, image in enumerate(bought.images)]
    path = tmp_path / "labels.csv"
    path.write_text("path,label,split\n" + "\n".join(rows) + "\n")
    return path


class TestDistillation:
    def test_it_trains_on_what_the_run_folder_holds(self, train: Train, run: Path) -> None:
        printed = json.loads(train("--json", *QUICK))
        assert printed == {
            "student": str(run / "student.safetensors"),
            "objective": "rank-mixup",
            "images": 18,
            "unlabelled": 0,
            "labels": None,
            "labels_with_one_image": None,
            "epochs": 1,
            "steps": 2,
            "recipe": load(run / "recipe.toml").digest(),
            "already_finished": False,
        }
        assert (run / "student.safetensors").is_file()
        assert "Already trained" in train(*QUICK)

    def test_shortcuts_stand_for_changes_of_the_recipe(self, train: Train, run: Path) -> None:
        text = train("--objective", "rank", "--weights", "random", "--set", "objective.tau=0.6", *QUICK)
        assert text.startswith(f"Trained: {run / 'student.safetensors'} (18 images, 1 epochs, 2 steps)")
        assert "--manifest LABELLED, or --dataset NAME --root DIR" in text
        written = load(run / "recipe.toml")
        assert written.objective.name == "rank"
        assert written.objective.settings["tau"] == 0.6

    def test_another_transfer_set_may_be_named(
        self, train: Train, bought: TrainingData, write_transfer_set: Callable[..., Path], tmp_path: Path
    ) -> None:
        elsewhere = write_transfer_set(bought.take(range(12)), tmp_path / "other.sqlite")
        assert json.loads(train("--transfer-set", elsewhere, "--json", *QUICK))["images"] == 12

    def test_another_run_folder_stands_for_its_transfer_set(
        self, train: Train, run: Path, tmp_path: Path
    ) -> None:
        run.rename(tmp_path / "bought")
        printed = json.loads(train("--transfer-set", tmp_path / "bought", "--json", *QUICK))
        assert (printed["student"], printed["images"]) == (str(run / "student.safetensors"), 18)
        (tmp_path / "empty").mkdir()
        with pytest.raises(InvalidInput, match=r"no transfer set .*empty/transfer_set\.sqlite"):
            train("--transfer-set", tmp_path / "empty", *QUICK)

    def test_a_run_folder_that_cannot_be_made_is_a_storage_error(
        self, train: Train, run: Path, manifest: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        of_labels = ("--objective", "csq", "--manifest", manifest)
        for data in (("--transfer-set", run), of_labels):
            with pytest.raises(StorageFailed, match="file cannot be made: File exists"):
                train("--run", tmp_path / "file", *data)

    def test_a_set_that_is_not_complete_needs_partial(
        self, train: Train, bought: TrainingData, write_transfer_set: Callable[..., Path], tmp_path: Path
    ) -> None:
        (tmp_path / "run").mkdir()
        path = tmp_path / "run" / "transfer_set.sqlite"
        write_transfer_set(bought.take(range(12)), path, planned=bought.images[12:])
        with pytest.raises(InvalidInput, match="12 of 18 planned images are bought"):
            train(*QUICK)
        assert json.loads(train("--partial", "--json", *QUICK))["images"] == 12

    def test_restart_trains_again(self, train: Train, run: Path) -> None:
        train(*QUICK)
        with pytest.raises(InvalidInput, match="--restart"):
            train(*QUICK, "--set", "training.seed=1")
        train(*QUICK, "--set", "training.seed=1", "--restart")
        assert load(run / "recipe.toml").training.seed == 1

    def test_tensorboard_files_stand_in_the_run_folder(self, train: Train, run: Path) -> None:
        pytest.importorskip("tensorboard")
        train(*QUICK, "--tensorboard")
        assert [file for file in (run / "tensorboard").iterdir() if "tfevents" in file.name]

    def test_tau_may_be_left_to_the_bought_descriptors(self, train: Train, run: Path) -> None:
        train("--set", "objective.tau=auto", *QUICK)
        assert '"event": "threshold"' in (run / "metrics.jsonl").read_text()
        assert "Already trained" in train("--set", "objective.tau=auto", *QUICK)


class TestSupervised:
    def test_it_trains_on_a_manifest_without_a_transfer_set(
        self, train: Train, manifest: Path, tmp_path: Path
    ) -> None:
        printed = json.loads(
            train("--objective", "ap", "--manifest", manifest, "--split", "train", "--json", *QUICK)
        )
        assert printed["images"] == 18
        assert (tmp_path / "run" / "student.safetensors").is_file()

    def test_sfm120k_gives_labels_and_pairs_and_is_no_second_source(
        self, train: Train, manifest: Path, tmp_path: Path
    ) -> None:
        root = make_sfm120k(tmp_path)
        tuples = ["objective.name=contrastive", "objective.negatives=3", "training.batch_size=15"]
        options = changes(*tuples)
        printed = json.loads(train("--sfm120k", root, *options, "--json", *QUICK))
        assert (printed["images"], printed["steps"]) == (24, 6)  # 18 pairs, three tuples of five a step
        with pytest.raises(InvalidInput, match="--sfm120k or --dataset, not --manifest and --sfm120k"):
            train("--sfm120k", root, "--manifest", manifest, *options)
        with pytest.raises(InvalidInput, match="learns without labels: leave out --sfm120k"):
            train("--sfm120k", root)

    def test_losses_against_the_teacher_learn_from_labels_beside_what_was_bought(
        self, train: Train, run: Path, manifest: Path, tmp_path: Path
    ) -> None:
        run.rename(tmp_path / "bought")
        source = (
            "--transfer-set",
            tmp_path / "bought",
            "--manifest",
            manifest,
            "--objective",
            "asym-triplet",
        )
        printed = json.loads(train(*source, *changes("objective.negatives=3"), "--json", *QUICK))
        assert (printed["images"], printed["steps"]) == (18, 2)  # of at most 9 anchors
        assert (run / "student.safetensors").is_file() and (run / "head.safetensors").is_file()

    def test_labels_of_what_was_bought_of_sfm120k_are_its_models_and_pairs(
        self, train: Train, write_transfer_set: Callable[..., Path], tmp_path: Path
    ) -> None:
        root = make_sfm120k(tmp_path)
        public = from_sfm120k(root, None).take(range(20))
        random = np.random.default_rng(0)
        vectors = random.standard_normal((20, 8)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        (tmp_path / "run").mkdir()
        write_transfer_set(
            replace(public, teacher=vectors, teacher_revision="ab" * 32), tmp_path / "run/transfer_set.sqlite"
        )
        arguments = ("--sfm120k", root, "--objective", "asym-triplet", *changes("objective.negatives=3"))
        printed = json.loads(train(*arguments, "--json", *QUICK))
        assert (printed["images"], printed["steps"]) == (20, 2)  # 15 pairs

    def test_a_public_set_gives_images_and_labels(self, train: Train, tmp_path: Path) -> None:
        make_cub200(tmp_path)
        options = ("--objective", "ap", "--dataset", "cub200", "--root", tmp_path, "--json", *QUICK)
        assert json.loads(train(*options))["images"] == 12
        with pytest.raises(InvalidInput, match="--root is the folder of data sets: say with --dataset NAME"):
            train("--objective", "ap", "--root", tmp_path)
        next((tmp_path / "CUB_200_2011" / "images" / "001.Bird_1").iterdir()).unlink()
        with pytest.raises(InvalidInput, match="1 of 12 images of cub200, split train, are missing or empty"):
            train(*options, "--restart")

    @pytest.mark.parametrize("objective", ["triplet", "asym-triplet", "asym-contrastive+"])
    def test_a_loss_that_needs_labels_says_so_before_anything_is_read(
        self, train: Train, tmp_path: Path, objective: str
    ) -> None:
        with pytest.raises(
            InvalidInput,
            match=rf"'{re.escape(objective)}' learns from labels, .*--manifest FILE, --sfm120k DIR or --dat",
        ):
            train("--objective", objective, *QUICK)
        assert not (tmp_path / "run").exists()

    def test_without_labels_it_is_refused_at_once(self, train: Train, tmp_path: Path) -> None:
        with pytest.raises(
            InvalidInput,
            match=r"'ap' learns from labels, .* --manifest FILE, --sfm120k DIR or --dataset NAME",
        ):
            train("--objective", "ap", *QUICK)
        assert not (tmp_path / "run").exists()


class TestRefusals:
    def test_a_run_folder_must_be_there_for_a_distillation(self, train: Train) -> None:
        with pytest.raises(InvalidInput, match="There is no run folder"):
            train(*QUICK)

    def test_labels_that_would_be_ignored_are_refused(self, train: Train, run: Path, manifest: Path) -> None:
        with pytest.raises(InvalidInput, match="'rank-mixup' learns without labels: leave out --manifest"):
            train("--manifest", manifest, *QUICK)

    def test_a_transfer_set_that_would_be_ignored_is_refused(
        self, train: Train, run: Path, manifest: Path
    ) -> None:
        with pytest.raises(InvalidInput, match="'ap' has no use for --transfer-set"):
            train("--objective", "ap", "--manifest", manifest, "--transfer-set", run / "transfer_set.sqlite")

    def test_a_split_without_a_manifest_is_refused(self, train: Train, run: Path) -> None:
        with pytest.raises(InvalidInput, match="--split names a part of a manifest, of SfM-120k or of a pub"):
            train("--split", "train")

    def test_a_student_without_a_layer_to_train_is_refused_before_the_data_are_read(
        self, train: Train, tmp_path: Path
    ) -> None:
        with pytest.raises(InvalidInput, match=r"trained_from = 99: the trunk"):
            train("--set", "student.trained_from=99", "--objective", "ap", "--manifest", tmp_path / "none")

    def test_an_unknown_recipe_and_an_unknown_key_are_refused(self, train: Train, run: Path) -> None:
        with pytest.raises(InvalidInput, match="no recipe 'papr'"):
            train(recipe="papr")
        with pytest.raises(InvalidInput, match="Did you mean 'epochs'"):
            train("--set", "training.epoch=1")


INTERRUPTED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit that it is ignored
from student_trainer.distil.log.metrics import MetricsLog

write = MetricsLog.write
def interrupting_write(log, event, values):
    write(log, event, values)
    if values["step"] == 1:
        os.kill(os.getpid(), signal.SIGINT)
MetricsLog.write = interrupting_write

from student_trainer.cli import main
main()
"""


def test_ctrl_c_ends_with_130_and_the_same_command_continues(
    train: Train, run: Path, tiny_recipe_file: Path
) -> None:
    command = [sys.executable, "-c", INTERRUPTED, "train", "--run", run, "--recipe", tiny_recipe_file, *QUICK]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    stopped = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert stopped.returncode == 130, stopped.stderr
    assert "run the same command again to continue from the last checkpoint" in stopped.stderr
    assert not (run / "student.safetensors").exists()
    assert "Trained" in train(*QUICK)
