"""Nothing is recorded that was computed with a file which changed after its cell was named by it."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from made_purchases import TINY_RECIPE, bought_run, paint

from shared.checkpoints import load_network, save_network
from shared.network import NetworkSpec, build_network
from student_trainer.datasets.manifest import Entry
from student_trainer.distil.data import from_transfer_set
from student_trainer.distil.train import train
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.gallery import gallery_of
from student_trainer.recipe import Recipe, changed, load
from student_trainer.run_folder import RunFolder
from student_trainer.trials import making, yardsticks
from student_trainer.trials.cells import Making, Task, run
from student_trainer.trials.making import Given, Trained, Untrained
from student_trainer.trials.yardsticks import Labelled, described


@dataclass(frozen=True)
class Meanwhile:
    """A number that needs no network; something happens while it is taken."""

    happens: Callable[[], None] = lambda: None

    def digest(self) -> str:
        return "cd" * 32

    def require_unchanged(self) -> None:
        pass

    def measure(self, checkpoint: Path) -> dict[str, float]:
        self.happens()
        return {"mAP": 0.5}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file that a student starts from."""
    torch.set_num_threads(1)
    return weights_of_seed(1, tmp_path / "w.safetensors")


def weights_of_seed(seed: int, path: Path) -> Path:
    save_network(build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=seed), path)
    return path


@pytest.fixture
def recipe(tmp_path: Path, weights: Path) -> Recipe:
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)
    short = ["training.epochs=1", "averaging.epochs=[1]"]
    return changed(load(tmp_path / "tiny.toml"), [f"student.weights={weights}", *short])


def refuse(task: Task, root: Path, changed: Path) -> None:
    """Run it: the file is named, and no measuring is recorded."""
    with pytest.raises(InvalidInput, match=rf"{changed.name} changed while it was used"):
        run(task, root)
    assert not list(root.glob("*/measured-*"))


def test_weights_that_changed_since_the_planning_start_no_training(
    recipe: Recipe, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(Trained(recipe, from_transfer_set(bought_run(tmp_path, 8).transfer_set)), (Meanwhile(),))
    task.unmeasured(tmp_path / "cells")
    weights_of_seed(2, weights)
    monkeypatch.setattr(making, "train", None)
    refuse(task, tmp_path / "cells", weights)


def test_a_training_whose_weights_changed_meanwhile_leaves_no_student_to_continue_from(
    recipe: Recipe, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = from_transfer_set(bought_run(tmp_path, 8).transfer_set)
    trained, root = Trained(recipe, data), tmp_path / "cells"

    def begun_with_others(*words: Any) -> Any:
        weights_of_seed(2, weights)
        return train(*words)

    monkeypatch.setattr(making, "train", begun_with_others)
    refuse(Task(trained, (Meanwhile(),)), root, weights)
    assert not (root / trained.name / "made.json").exists()
    monkeypatch.undo()
    weights_of_seed(1, weights)
    run(Task(trained, (Meanwhile(),), keep=True), root)
    alone = RunFolder.create(tmp_path / "alone")
    Trained(recipe, data).make(alone)
    found, expected = (
        load_network(folder.student).state_dict() for folder in (RunFolder(root / trained.name), alone)
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_task_that_is_sent_to_another_process_speaks_of_the_files_as_they_were_planned(
    weights: Path, tmp_path: Path
) -> None:
    images = [paint(tmp_path / f"{place}.png", place) for place in range(4)]
    gallery = gallery_of([Entry(path, f"label {place % 2}") for place, path in enumerate(images)])
    labelled = Labelled(gallery, "labelled.csv", 24, "cpu")
    task = Task(Given(weights), (labelled,))
    planned = (task.making.name, labelled.digest())
    sent = pickle.dumps(task)
    weights_of_seed(2, weights)
    paint(images[0], 7)
    received = pickle.loads(sent)
    assert (received.making.name, received.measures[0].digest()) == planned
    for named in (received.making, received.measures[0]):
        with pytest.raises(InvalidInput, match="changed while it was used"):
            named.require_unchanged()


@pytest.mark.parametrize("kind", ["given", "before"])
def test_a_network_whose_file_changes_while_it_is_measured_has_no_number(
    recipe: Recipe, weights: Path, tmp_path: Path, kind: str
) -> None:
    network: Making = Given(weights) if kind == "given" else Untrained.before(recipe, None)
    task = Task(network, (Meanwhile(lambda: weights_of_seed(2, weights) and None),))
    refuse(task, tmp_path / "cells", weights)


def test_images_that_change_while_they_are_measured_on_give_no_number(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [paint(tmp_path / f"{place}.png", place) for place in range(4)]
    gallery = gallery_of([Entry(path, f"label {place % 2}") for place, path in enumerate(images)])
    task, root = Task(Given(weights), (Labelled(gallery, "labelled.csv", 24, "cpu"),)), tmp_path / "cells"
    first = images[2].read_bytes()

    def other_images(*words: Any, **settings: Any) -> Any:
        paint(images[2], 7)
        return described(*words, **settings)

    monkeypatch.setattr(yardsticks, "described", other_images)
    refuse(task, root, images[2])
    monkeypatch.undo()
    images[2].write_bytes(first)
    run(task, root)
    assert task.unmeasured(root) == []
