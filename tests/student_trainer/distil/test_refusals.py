"""What is refused before an image is decoded and before anything is written."""

from dataclasses import replace
from pathlib import Path

import pytest

from shared.network import NetworkSpec, build_network
from student_trainer.distil.data import TrainingData
from student_trainer.distil.refusals import check_recipe
from student_trainer.distil.train import train
from student_trainer.distil.white_box.teacher import WhiteBox
from student_trainer.errors import InvalidInput
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder


def refused(recipe: Path, changes: list[str], data: TrainingData, run: Path) -> str:
    """What the training says; it must not have begun."""
    with pytest.raises(InvalidInput) as error:
        train(load(recipe, changes), data, RunFolder.create(run))
    assert not list(run.iterdir())
    return str(error.value)


@pytest.mark.parametrize("name", ["hash-dch", "hash-csq", "hash-mse"])
def test_weights_that_nobody_published_are_refused_with_the_option_that_names_others(name: str) -> None:
    recipe = load(name, ["student.weights=imagenet"])
    with pytest.raises(
        InvalidInput, match=r"no ImageNet weights of compact-v1.*--weights FILE, or --weights r"
    ):
        check_recipe(recipe, white_box=False)
    check_recipe(load(name, ["student.weights=random"]), white_box=False)


def test_weights_of_a_width_that_nobody_published_are_refused_so_too(
    tiny_recipe_file: Path, bought: TrainingData, tmp_path: Path
) -> None:
    told = refused(tiny_recipe_file, ["student.weights=imagenet"], bought, tmp_path / "run")
    assert "ImageNet weights of mobilenet_v2-320x0.1 are not published" in told
    assert told.endswith("That is: --weights FILE, or --weights random.")


@pytest.mark.parametrize(
    "changes",
    [
        ["objective.name=darkrank-hard", "training.batch_size=4"],
        # 18 images in batches of at most 7 are three of 6.
        ["objective.name=darkrank-soft", "objective.list_length=6", "training.batch_size=7"],
    ],
)
def test_a_batch_that_holds_no_list_is_refused(
    changes: list[str], tiny_recipe_file: Path, bought: TrainingData, tmp_path: Path
) -> None:
    told = refused(tiny_recipe_file, changes, bought, tmp_path / "run")
    assert "images beside the query needs a batch of" in told and "list_length" in told


def test_a_batch_that_holds_no_list_of_the_base_is_refused(
    tiny_recipe_file: Path, bought: TrainingData, tmp_path: Path
) -> None:
    changes = ["objective.name=hint", "objective.base=darkrank-hard", "training.batch_size=4"]
    shown = replace(bought, white_box=WhiteBox(build_network(NetworkSpec("resnet18-64")), "a digest"))
    assert "needs a batch of 5 or more" in refused(tiny_recipe_file, changes, shown, tmp_path / "run")


@pytest.mark.parametrize(("layers", "whose"), [("99:5", "student"), ("5:99", "teacher")])
def test_a_layer_that_is_not_there_is_refused(
    layers: str, whose: str, tiny_recipe_file: Path, bought: TrainingData, tmp_path: Path
) -> None:
    shown = replace(bought, white_box=WhiteBox(build_network(NetworkSpec("resnet18-64")), "a digest"))
    told = refused(
        tiny_recipe_file, ["objective.name=hint", f"objective.layers={layers}"], shown, tmp_path / "run"
    )
    assert f"the {whose}'s trunk has no layer '99'" in told
