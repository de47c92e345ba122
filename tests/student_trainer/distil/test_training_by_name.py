"""Every objective trains from the command line, by its name and with what its facts say that it needs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from shared.batch_norm import calibrate_batch_norm
from shared.checkpoints import save_network
from shared.network import NetworkSpec, build_network
from student_trainer.distil import commands
from student_trainer.distil.data import TrainingData
from student_trainer.distil.heads import read_head
from student_trainer.distil.objectives import OBJECTIVES
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder

QUICK = ("training.epochs=1", "averaging.epochs=[]", "training.batch_size=12")
SMALL_TUPLES = ("objective.negatives=3", "objective.anchors_per_epoch=6", "training.batch_size=30")
LOWER = ("objective.layers=5:4",)
"""Images of 32 px leave maps of one cell at the end of the trunks."""


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = build_network(NetworkSpec("resnet18-128"), seed=3)
    calibrate_batch_norm(network, [torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))])
    save_network(network, path := tmp_path_factory.mktemp("teacher") / "teacher.safetensors")
    return path


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_trains_from_the_command_line_with_what_it_needs(
    name: str,
    tmp_path: Path,
    tiny_recipe_file: Path,
    bought: TrainingData,
    write_transfer_set: Callable[..., Path],
    teacher_file: Path,
) -> None:
    facts, data = OBJECTIVES[name].facts, bought.take(range(12))
    run = RunFolder.create(tmp_path / "run")
    settings, inputs = [*QUICK], []
    if facts.needs_teacher or facts.needs_white_box:
        write_transfer_set(data, run.transfer_set)
    if facts.needs_labels:
        inputs += ["--manifest", manifest(tmp_path, data)]
    if facts.needs_white_box:
        inputs += ["--teacher-checkpoint", teacher_file]
        settings += LOWER
    if OBJECTIVES[name]().mining is not None:
        settings += SMALL_TUPLES

    app = typer.Typer()
    app.command()(commands.train)
    changes = [part for change in settings for part in ("--set", change)]
    command = ["--run", run.root, "--recipe", tiny_recipe_file, "--objective", name, "--json"]
    result = CliRunner().invoke(app, [str(part) for part in (*command, *inputs, *changes)])

    assert result.exception is None, result.exception
    assert json.loads(result.stdout)["images"] == 12
    assert run.student.is_file() and load(run.recipe).objective.name == name
    learns_codes = facts.takes_several_labels
    assert run.head.exists() is (facts.in_teachers_space or learns_codes)
    if run.head.exists():
        saved = read_head(run.head)
        assert (saved.objective, saved.head.kind) == (name, "hash" if learns_codes else "projection")


def manifest(folder: Path, data: TrainingData) -> Path:
    """Labels of the images: four places in turn."""
    lines = [f"{image.path},place{n % 4}\n" for n, image in enumerate(data.images)]
    file = folder / "labels.csv"
    file.write_text("path,label\n" + "".join(lines))
    return file
