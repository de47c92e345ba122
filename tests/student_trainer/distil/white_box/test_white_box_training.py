"""Hint and attention train from the command line with a teacher at hand, and are refused without one."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from shared.checkpoints import load_network, read_notes, save_network
from shared.network import DescriptorNet, NetworkSpec, build_network, calibrate_batch_norm
from student_trainer.curve.commands import curve
from student_trainer.distil import commands
from student_trainer.distil.checkpoint import Checkpoint
from student_trainer.distil.data import TrainingData
from student_trainer.distil.heads import read_head
from student_trainer.distil.step import take_step
from student_trainer.distil.train import train as train_student
from student_trainer.distil.white_box.teacher import WhiteBox
from student_trainer.errors import InvalidInput
from student_trainer.publish.card import build_card
from student_trainer.publish.facts import gather
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder

LOWER = ("--set", "objective.layers=5:4")
"""Images of 32 px leave maps of one cell at the end of the trunks."""

QUICK = ("--set", "training.epochs=1", "--set", "averaging.epochs=[]")

Train = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = build_network(NetworkSpec("resnet18-128"), seed=3)
    calibrate_batch_norm(network, [torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))])
    save_network(network, path := tmp_path_factory.mktemp("teacher") / "teacher.safetensors")
    return path


@pytest.fixture
def run(tmp_path: Path, bought: TrainingData, write_transfer_set: Callable[..., Path]) -> RunFolder:
    """A run folder in which everything is bought."""
    folder = RunFolder.create(tmp_path / "run")
    write_transfer_set(bought, folder.transfer_set)
    return folder


@pytest.fixture
def train(tiny_recipe_file: Path, run: RunFolder) -> Train:
    """Runs the verb and returns what it printed; errors are raised."""
    app = typer.Typer()
    app.command()(commands.train)

    def run_command(*arguments: str | Path) -> dict[str, Any]:
        command = ["--run", run.root, "--recipe", tiny_recipe_file, "--json", *arguments]
        result = CliRunner().invoke(app, [str(part) for part in command])
        if result.exception is not None:
            raise result.exception
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    return run_command


def losses(run: RunFolder) -> list[float]:
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [line["loss"] for line in lines if line["event"] == "step"]


@pytest.mark.parametrize("name", ["hint", "attention"])
def test_a_student_learns_from_feature_maps_and_its_file_says_of_whom(
    train: Train, run: RunFolder, teacher_file: Path, name: str
) -> None:
    rate = (
        "--set",
        "training.learning_rate=0.01",
        "--set",
        "training.epochs=6",
        "--set",
        "averaging.epochs=[6]",
    )
    printed = train("--objective", name, "--teacher-checkpoint", teacher_file, *LOWER, *rate)
    assert printed["steps"] == 12
    first, *_, last = losses(run)
    assert last < 0.9 * first
    notes = read_notes(run.student)
    assert (notes["objective"], notes["white_box"]) == (name, WhiteBox.open(teacher_file).digest)
    assert not run.head.exists()
    card = build_card(gather(run))
    assert (
        f"it was no black box: the student learned from its feature maps, with the objective {name}." in card
    )
    assert "it learned from feature maps, which no query counts" in card
    assert "A black-box teacher gave" not in card


def test_beside_a_base_the_bases_head_is_saved_and_labels_are_asked_for(
    train: Train, run: RunFolder, teacher_file: Path, bought: TrainingData, tmp_path: Path
) -> None:
    shown = ("--teacher-checkpoint", teacher_file)
    train("--objective", "hint", *shown, *QUICK, "--set", "objective.base=regression")
    saved = read_head(run.head)
    assert (saved.objective, saved.head.out_dim) == ("hint", 8)
    labelled = ("--objective", "hint", *shown, *QUICK, "--set", "objective.base=lmt-relative", "--restart")
    with pytest.raises(InvalidInput, match="learns from labels"):
        train(*labelled)
    manifest = tmp_path / "labels.csv"
    rows = [f"{image.path},place{place % 4}" for place, image in enumerate(bought.images)]
    manifest.write_text("path,label\n" + "\n".join(rows) + "\n")
    assert train(*labelled, "--manifest", manifest)["images"] == 18
    assert not run.head.exists()


def test_alone_it_may_take_the_images_of_a_manifest_and_no_descriptor(
    train: Train, run: RunFolder, teacher_file: Path, bought: TrainingData, tmp_path: Path
) -> None:
    run.transfer_set.unlink()
    manifest = tmp_path / "labels.csv"
    manifest.write_text("path,label\n" + "".join(f"{image.path},any\n" for image in bought.images))
    train("--objective", "hint", "--teacher-checkpoint", teacher_file, "--manifest", manifest, *QUICK)
    assert "transfer_set" not in read_notes(run.student)


class TestContinuing:
    def test_a_training_that_was_killed_ends_at_the_same_bits_regressors_included(
        self,
        bought: TrainingData,
        tiny_recipe_file: Path,
        teacher_file: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        changes = ["objective.name=hint", "objective.base=regression", "images.flip=true"]
        recipe = load(tiny_recipe_file, changes)
        data = replace(bought, white_box=WhiteBox.open(teacher_file))
        whole, broken = RunFolder.create(tmp_path / "whole"), RunFolder.create(tmp_path / "broken")
        train_student(recipe, data, whole)

        def dying(state: Any, moment: Any, *args: Any, **options: Any) -> Any:
            if moment.step == 4:
                raise ZeroDivisionError
            return take_step(state, moment, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr("student_trainer.distil.train.take_step", dying)
            with pytest.raises(ZeroDivisionError):
                train_student(recipe, data, broken)
        train_student(recipe, data, broken)
        ours, theirs = (load_network(one.student).state_dict() for one in (broken, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        kept, expected = (learned(one) for one in (broken, whole))
        assert {"regressors.0.weight", "head.linear.weight"} == expected.keys()
        assert all(torch.equal(kept[name], expected[name]) for name in expected)

    def test_another_teacher_is_another_training(
        self, train: Train, teacher_file: Path, tmp_path: Path
    ) -> None:
        train("--objective", "hint", "--teacher-checkpoint", teacher_file, *QUICK)
        save_network(build_network(NetworkSpec("resnet18-128"), seed=4), tmp_path / "other.safetensors")
        with pytest.raises(InvalidInput, match="have changed since this run was trained"):
            train("--objective", "hint", "--teacher-checkpoint", tmp_path / "other.safetensors", *QUICK)


def learned(run: RunFolder) -> dict[str, torch.Tensor]:
    """What the objective had learned of its own at the last checkpoint."""
    kept = Checkpoint.load(run.checkpoints)
    assert kept is not None and kept.head is not None
    weights: dict[str, torch.Tensor] = kept.head["weights"]
    return weights


class TestRefusals:
    @pytest.mark.parametrize("name", ["hint", "attention"])
    def test_a_black_box_shows_no_feature_maps(self, train: Train, run: RunFolder, name: str) -> None:
        with pytest.raises(
            InvalidInput, match=r"a black box .* shows no feature maps: .* --teacher-checkpoint"
        ):
            train("--objective", name)
        assert not run.recipe.exists()

    def test_nor_does_it_where_training_is_called_by_other_verbs(
        self, run: RunFolder, bought: TrainingData, tiny_recipe_file: Path
    ) -> None:
        recipe = load(tiny_recipe_file, ["objective.name=hint"])
        with pytest.raises(InvalidInput, match="shows no feature maps"):
            train_student(recipe, bought, run)
        app = typer.Typer()
        app.command()(curve)
        command = ["--run", run.root, "--recipe", tiny_recipe_file, "--set", "objective.name=hint"]
        outcome = CliRunner().invoke(app, [str(part) for part in command])
        assert isinstance(outcome.exception, InvalidInput)
        assert "shows no feature maps" in str(outcome.exception)

    def test_a_teacher_at_hand_is_of_no_use_to_other_objectives(
        self, train: Train, teacher_file: Path
    ) -> None:
        with pytest.raises(InvalidInput, match=r"'rank-mixup' learns without them: leave it out"):
            train("--teacher-checkpoint", teacher_file)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ("student.trained_from=5", r"student\.trained_from = 5 trains on kept features"),
            ("images.degrade=downsample:2", "to show the student others than the teacher"),
            ("objective.layers=99:4", "the student's trunk has no layer '99'"),
            ("objective.layers=5:stage", "the teacher's trunk has no layer 'stage'"),
        ],
    )
    def test_what_does_not_go_with_feature_maps_is_refused(
        self, train: Train, teacher_file: Path, change: str, reason: str
    ) -> None:
        with pytest.raises(InvalidInput, match=reason):
            train("--objective", "hint", "--teacher-checkpoint", teacher_file, "--set", change)

    def test_attention_to_a_single_cell_is_refused_before_the_first_step(
        self, train: Train, run: RunFolder, teacher_file: Path
    ) -> None:
        with pytest.raises(InvalidInput, match="leave the compared layers one cell"):
            train("--objective", "attention", "--teacher-checkpoint", teacher_file)
        assert not run.metrics.exists()

    def test_a_file_that_holds_no_network_is_refused(self, train: Train, tmp_path: Path) -> None:
        for file in (tmp_path / "nothing.safetensors", tmp_path):
            with pytest.raises(InvalidInput, match="--teacher-checkpoint: "):
                train("--objective", "hint", "--teacher-checkpoint", file)


def test_bfloat16_and_crops_go_with_feature_maps(train: Train, teacher_file: Path) -> None:
    changes = [
        "images.shortest_side_px=48",
        "images.crop_px=40",
        "images.flip=true",
        "training.precision=bf16",
    ]
    options = [part for change in changes for part in ("--set", change)]
    assert (
        train("--objective", "attention", "--teacher-checkpoint", teacher_file, *LOWER, *options)["steps"]
        == 6
    )


def test_a_teacher_keeps_its_weights(bought: TrainingData, tiny_recipe_file: Path, tmp_path: Path) -> None:
    teacher: DescriptorNet = build_network(NetworkSpec("resnet18-128"), seed=3)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    recipe = load(tiny_recipe_file, ["objective.name=hint", "training.epochs=1", "averaging.epochs=[]"])
    train_student(
        recipe, replace(bought, white_box=WhiteBox(teacher, "ab")), RunFolder.create(tmp_path / "run")
    )
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
