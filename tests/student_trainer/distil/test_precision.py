"""The network in bfloat16: coarser arithmetic, the same weights and types."""

from pathlib import Path

import pytest
import torch

from student_trainer.distil.data import TrainingData
from student_trainer.distil.precision import InBFloat16, warning
from student_trainer.distil.state import TrainingState
from student_trainer.distil.student import build_student
from student_trainer.distil.train import train
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe, load
from student_trainer.run_folder import RunFolder


@pytest.fixture
def coarse(tiny_recipe_file: Path) -> Recipe:
    """The tiny recipe in bfloat16."""
    return load(tiny_recipe_file, ["training.precision=bf16"])


def test_descriptors_and_gradients_are_float32_and_near_those_of_float32(coarse: Recipe) -> None:
    state = TrainingState.fresh(coarse, build_student(coarse), torch.device("cpu"))
    assert isinstance(state.trained, InBFloat16)
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    exact, rounded = state.student(images), state.trained(images)
    assert rounded.dtype == torch.float32
    difference = (exact - rounded).norm(dim=1)
    assert 0 < difference.max() < 0.1
    rounded.sum().backward()
    assert {weight.grad.dtype for weight in state.student.parameters() if weight.grad is not None} == {
        torch.float32
    }


def test_a_training_in_bfloat16_learns_and_saves_float32(
    coarse: Recipe, bought: TrainingData, tmp_path: Path
) -> None:
    from shared.checkpoints import load_network

    run = RunFolder.create(tmp_path / "run")
    train(coarse, bought, run)
    before, after = (load_network(path) for path in (run.initial_student, run.student))
    assert {weight.dtype for weight in after.parameters()} == {torch.float32}
    assert not torch.equal(before.trunk[0][0].weight, after.trunk[0][0].weight)  # type: ignore[index]


def test_on_a_cpu_it_is_said_once_before_the_training_that_there_is_no_gain(
    coarse: Recipe,
    tiny_recipe: Recipe,
    bought: TrainingData,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(coarse, bought, RunFolder.create(tmp_path / "coarse"))
    said = capsys.readouterr().err
    assert said.count('training.precision = "bf16" is for graphics cards') == 1
    assert said.index("is for graphics cards") < said.index("Training: ")
    assert warning("bf16", torch.device("cuda", 0)) is None
    assert warning(tiny_recipe.training.precision, torch.device("cpu")) is None


def test_another_precision_is_another_recipe_and_an_unknown_one_is_refused(
    coarse: Recipe, tiny_recipe: Recipe, tiny_recipe_file: Path
) -> None:
    assert coarse.digest() != tiny_recipe.digest()
    with pytest.raises(InvalidInput, match=r"training\.precision"):
        load(tiny_recipe_file, ["training.precision=fp8"])
