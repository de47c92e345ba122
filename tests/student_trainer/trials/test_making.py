"""Networks and the folders that they are made in: named by all that decides them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_purchases import TINY_RECIPE, bought_run

from shared.checkpoints import load_network, save_network
from shared.network import NetworkSpec, build_network
from student_trainer.distil.data import TrainingData, from_transfer_set
from student_trainer.errors import TrainingFailed
from student_trainer.recipe import Recipe, changed, load
from student_trainer.run_folder import RunFolder
from student_trainer.trials.making import Given, Trained, Untrained


@pytest.fixture
def data(tmp_path: Path) -> TrainingData:
    return from_transfer_set(bought_run(tmp_path, 20).transfer_set)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)
    return load(tmp_path / "tiny.toml")


def test_the_student_before_is_the_one_that_training_starts_from(
    recipe: Recipe, data: TrainingData, tmp_path: Path
) -> None:
    trained, before = RunFolder.create(tmp_path / "trained"), RunFolder.create(tmp_path / "before")
    Trained(recipe, data).make(trained)
    Untrained.before(recipe, data).make(before)
    start, alone = (load_network(folder.initial_student).state_dict() for folder in (trained, before))
    assert all(torch.equal(start[name], alone[name]) for name in start)


def test_a_training_is_named_by_its_recipe_images_and_the_bytes_of_its_weights(
    recipe: Recipe, data: TrainingData, tmp_path: Path
) -> None:
    weights = tmp_path / "w.safetensors"
    save_network(build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=1), weights)
    started = changed(recipe, [f"student.weights={weights}"])
    before = Untrained.before(started, data)
    names = {Trained(recipe, data).name, Trained(started, data).name}
    assert before.seed is None  # one start for all seeds, whatever they learn from
    assert before.name == Untrained.before(changed(started, ["training.seed=4"]), None).name
    save_network(build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=2), weights)
    names |= {
        Trained(started, data).name,
        Trained(changed(recipe, ["objective.tau=0.6"]), data).name,
        Trained(changed(recipe, ["training.seed=1"]), data).name,
        Trained(recipe, data.take(range(10))).name,
        Trained(recipe, replace(data, teacher=data.teacher[::-1])).name,  # type: ignore[index]
    }
    assert len(names) == 7
    assert Untrained.before(started, data).name != before.name
    assert Trained(changed(recipe, ["training.device=cuda"]), data).name == Trained(recipe, data).name


def test_a_file_is_named_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"one")
    (tmp_path / "c").write_bytes(b"two")
    a, b, c = (Given(tmp_path / name) for name in "abc")
    assert a.name == b.name != c.name


def test_a_training_without_a_step_is_not_called_one(
    recipe: Recipe, data: TrainingData, tmp_path: Path
) -> None:
    no_epoch = recipe.training.model_copy(update={"epochs": 0})
    none_averaged = recipe.averaging.model_copy(update={"epochs": ()})
    unchecked = recipe.model_copy(update={"training": no_epoch, "averaging": none_averaged})
    with pytest.raises(TrainingFailed, match=r"has no step, so its student is the one before training"):
        Trained(unchecked, data).make(RunFolder.create(tmp_path / "cell"))


def test_what_a_training_found_out_is_told(recipe: Recipe, data: TrainingData, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "cell")
    outcome = Trained(changed(recipe, ["objective.tau=0.999"]), data).make(folder)
    assert (outcome.images, outcome.epochs, outcome.steps) == (20, 2, 4)
    assert outcome.facts["tau"] == 0.999
    assert (outcome.facts["alone"], outcome.facts["neighbours"]) == (1.0, 0.0)
    assert outcome.facts["last loss"] == 0  # nothing to be ranked first
    assert outcome.seconds > 0
