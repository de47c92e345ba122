"""A student that starts from another one says what that one learned from, through every further step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stopped_training import StopHere, stop_at

from shared.checkpoints import load_network, read_notes, save_network, weights_digest
from student_trainer.distil.data import TrainingData
from student_trainer.distil.lineage.learned import IMAGES, LABELS, Inherited, Learned, read
from student_trainer.distil.lineage.start import Start, start_of
from student_trainer.distil.train import train
from student_trainer.errors import InvalidInput
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder

QUICK = ("training.epochs=1", "averaging.epochs=[]")
HASHED = ("objective.name=dch", "objective.bits=8")
REGRESSED = ("objective.name=regression",)

Step = Callable[..., RunFolder]


@pytest.fixture
def step(tiny_recipe_file: Path, tmp_path: Path) -> Step:
    """Trains in a run folder of that name; from another one's student if it is given."""

    def fit(name: str, data: TrainingData, *changes: str, start: Path | None = None) -> RunFolder:
        run = RunFolder.create(tmp_path / name)
        first = () if start is None else (f"student.weights={start}",)
        train(load(tiny_recipe_file, [*QUICK, *changes, *first]), data, run)
        return run

    return fit


def labelled(bought: TrainingData, *names: str) -> TrainingData:
    """The images without descriptors, with labels in turn."""
    numbers = np.arange(len(bought)) % len(names)
    return replace(bought, teacher=None, teacher_revision=None, labels=numbers, label_names=names)


def digests(data: TrainingData) -> set[str]:
    return {image.digest for image in data.images}


def test_labels_and_images_of_both_steps_are_known(step: Step, bought: TrainingData) -> None:
    first, second = bought.take(range(9)), bought.take(range(9, 18))
    one = step("one", labelled(first, "arch", "dome"), *HASHED)
    two = step("two", labelled(second, "new", "other"), *HASHED, start=one.student)
    labels, images = read(two.learned_labels, LABELS), read(two.learned_images, IMAGES)
    assert labels == Learned(("new", "other"), Inherited(frozenset({"arch", "dome"}), complete=True))
    assert images is not None and images.names == digests(bought) and images.complete
    assert read_notes(two.student)["ancestor"] == weights_digest(load_network(one.student))
    assert "ancestor" not in read_notes(one.student)


def test_a_purchase_is_remembered_by_a_step_that_bought_nothing(step: Step, bought: TrainingData) -> None:
    one = step("one", bought, *REGRESSED)
    two = step("two", labelled(bought, "arch", "dome"), *HASHED, start=one.student)
    three = step("three", labelled(bought, "a", "b"), *HASHED, start=two.student)
    for run in (two, three):
        notes = read_notes(run.student)
        assert notes["transfer_set"] == bought.transfer_set_digest
        assert notes["teacher_revision"] == "ab" * 32
        assert "earlier_transfer_sets" not in notes
    assert read(three.learned_labels, LABELS) == Learned(
        ("a", "b"), Inherited(frozenset({"arch", "dome"}), complete=True)
    )


def test_two_purchases_are_both_named_and_a_part_of_the_later_one_is_not(
    step: Step, bought: TrainingData
) -> None:
    first, rest = bought.take(range(9)), bought.take(range(9, 18))
    one = step("one", first, *REGRESSED)
    notes = read_notes(step("rest", rest, *REGRESSED, start=one.student).student)
    assert (notes["transfer_set"], notes["earlier_transfer_sets"]) == (
        rest.transfer_set_digest,
        first.transfer_set_digest,
    )
    notes = read_notes(step("more", bought, *REGRESSED, start=one.student).student)
    assert notes["transfer_set"] == bought.transfer_set_digest
    assert "earlier_transfer_sets" not in notes


def test_a_white_box_is_remembered(step: Step, bought: TrainingData, tmp_path: Path) -> None:
    one = step("one", bought, *REGRESSED)
    save_network(load_network(one.student), one.student, read_notes(one.student) | {"white_box": "cd" * 32})
    two = step("two", bought, *REGRESSED, start=one.student)
    assert read_notes(two.student)["white_box"] == "cd" * 32
    own = Start("ab" * 32, {"white_box": "cd" * 32}).handed_on({"white_box": "ef" * 32})
    assert own["white_box"] == "ef" * 32


def test_a_student_that_is_passed_on_alone_leaves_its_labels_unknown(
    step: Step, bought: TrainingData, tmp_path: Path
) -> None:
    one = step("one", labelled(bought, "arch", "dome"), *HASHED)
    one.student.rename(alone := tmp_path / "student.safetensors")
    two = step("two", labelled(bought, "a", "b"), *HASHED, start=alone)
    assert read(two.learned_labels, LABELS) == Learned(("a", "b"), Inherited())
    images = read(two.learned_images, IMAGES)
    assert images is not None and not images.complete
    three = step("three", bought, *REGRESSED, start=two.student)
    assert read(three.learned_labels, LABELS) == Learned((), Inherited(frozenset({"a", "b"})))


def test_a_start_that_learned_without_labels_has_none_although_no_file_says_so(
    step: Step, bought: TrainingData
) -> None:
    one = step("one", bought, *REGRESSED)
    two = step("two", labelled(bought, "a", "b"), *HASHED, start=one.student)
    assert read(two.learned_labels, LABELS) == Learned(("a", "b"), Inherited(complete=True))


def test_older_folders_know_their_images_by_their_transfer_set(
    step: Step, bought: TrainingData, write_transfer_set: Callable[..., Path], tiny_recipe_file: Path
) -> None:
    one = step("one", bought, *REGRESSED)
    recipe = load(tiny_recipe_file, [f"student.weights={one.student}"])
    one.learned_images.unlink()
    start = start_of(recipe)
    assert start is not None and start.images == Inherited()
    write_transfer_set(bought, one.transfer_set)
    start = start_of(recipe)
    assert start is not None and start.images == Inherited(frozenset(digests(bought)), complete=True)


def test_networks_that_no_recipe_trained_have_no_lineage(
    step: Step, bought: TrainingData, tiny_recipe_file: Path, tmp_path: Path
) -> None:
    one = step("one", bought, *REGRESSED)
    foreign = tmp_path / "foreign.safetensors"
    save_network(load_network(one.student), foreign, {"source": "somewhere"})
    for file in (foreign, one.initial_student, "random", "imagenet", tmp_path / "weights.pth"):
        assert start_of(load(tiny_recipe_file, [f"student.weights={file}"])) is None
    two = step("two", bought, *REGRESSED, start=foreign)
    assert set(read_notes(two.student)) == {
        "recipe", "objective", "training_data", "teacher_revision", "transfer_set",
    }  # fmt: skip
    assert not two.learned_labels.exists()


def test_a_start_that_is_not_there_is_refused(tiny_recipe_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"student\.weights: There is no file"):
        start_of(load(tiny_recipe_file, [f"student.weights={tmp_path / 'student.safetensors'}"]))


def test_a_stopped_training_remembers_its_start_when_that_is_gone(
    step: Step, bought: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = step("one", labelled(bought, "arch", "dome"), *HASHED)
    data = labelled(bought, "a", "b")
    expected = step("whole", data, *HASHED, start=one.student)
    with monkeypatch.context() as patch, pytest.raises(StopHere):
        patch.setattr("student_trainer.distil.train.CHECKPOINT_EVERY_S", 0.0)
        stop_at(patch, 2)
        step("stopped", data, *HASHED, start=one.student)
    for file in one.root.glob("*.*"):
        file.unlink()
    stopped = step("stopped", data, *HASHED, start=one.student)
    for name in ("student.safetensors", "learned_labels.json", "learned_images.json"):
        assert (stopped.root / name).read_bytes() == (expected.root / name).read_bytes()


def test_a_stopped_training_refuses_renamed_labels(
    step: Step, bought: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(StopHere):
        patch.setattr("student_trainer.distil.train.CHECKPOINT_EVERY_S", 0.0)
        stop_at(patch, 2)
        step("run", labelled(bought, "arch", "dome"), *HASHED)
    with pytest.raises(InvalidInput, match=r"began with other names of labels: 2 \(arch, dome\), and now 2 "):
        step("run", labelled(bought, "a", "b"), *HASHED)
    run = step("run", labelled(bought, "arch", "dome"), *HASHED)
    assert read(run.learned_labels, LABELS) == Learned(("arch", "dome"))
