"""Run folders and calls for evaluations on small copies of the landmark benchmarks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import typer
from typer.testing import CliRunner

from shared.batch_norm import calibrate_batch_norm
from shared.checkpoints import save_network
from shared.images import Preprocessing, load_pixels, normalise
from shared.network import DescriptorNet, NetworkSpec, build_network
from student_trainer.evaluate.commands import evaluate
from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder

ARCH = "mobilenet_v2-320x0.25"
SIDE_PX = 64

app = typer.Typer()
app.command()(evaluate)


def call(*arguments: object) -> str:
    """``student-trainer evaluate`` with these arguments: standard output; errors come through as they are."""
    outcome = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def network_that_sees(images: Sequence[Path], seed: int, arch: str = ARCH) -> DescriptorNet:
    """Random weights, with batch norm fitted to some images, so that it tells them apart."""
    network = build_network(NetworkSpec(arch), seed=seed)
    preprocessing = Preprocessing(SIDE_PX)
    pixels = torch.from_numpy(np.stack([load_pixels(path, preprocessing) for path in images]))
    calibrate_batch_norm(network, [normalise(pixels, preprocessing)])
    return network


def make_run(root: Path, images: Sequence[Path]) -> RunFolder:
    """A run folder with a student before and after, and a teacher of other dimensions beside them."""
    run = RunFolder.create(root)
    save_network(network_that_sees(images, 0), run.initial_student)
    save_network(network_that_sees(images, 1), run.student)
    save_network(network_that_sees(images, 2, "resnet18-64"), teacher_of(run))
    Recipe.model_validate({"images": {"longest_side_px": SIDE_PX}}).write(run.recipe)
    return run


def teacher_of(run: RunFolder) -> Path:
    """Where :func:`make_run` left a teacher."""
    return run.root / "teacher.safetensors"
