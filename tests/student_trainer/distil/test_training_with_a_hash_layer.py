"""Short trainings from the command line: the hash layer is trained, saved and continued with its student."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from shared.checkpoints import load_network, weights_digest
from student_trainer.cli import app
from student_trainer.distil.data import TrainingData, from_manifest
from student_trainer.distil.hash_centres import hash_centres
from student_trainer.distil.heads import Head, read_head
from student_trainer.distil.images import digest_files
from student_trainer.distil.objectives.csq import CentralSimilarity
from student_trainer.distil.preflight import tell_classes
from student_trainer.distil.train import train
from student_trainer.errors import InvalidInput
from student_trainer.recipe import changed, load
from student_trainer.run_folder import RunFolder

Paint = Callable[[int], list[Path]]


def labels_file(paint: Paint, column: str, label_of: Callable[[int], str], images: int = 12) -> Path:
    paths = paint(images)
    file = paths[0].parent.parent / "labels.csv"
    file.write_text(f"path,{column}\n" + "".join(f"{path},{label_of(n)}\n" for n, path in enumerate(paths)))
    return file


def trained(run: Path, recipe: Path, labels: Path, *options: str) -> RunFolder:
    command = ["train", "--run", run, "--recipe", recipe, "--manifest", labels, *options]
    result = CliRunner().invoke(app, [str(part) for part in command])
    if result.exception is not None:
        raise result.exception
    return RunFolder(run)


@pytest.mark.parametrize(("objective", "column"), [("dch", "labels"), ("csq", "label")])
def test_an_ordinary_student_learns_codes_from_one_label_or_several(
    objective: str, column: str, paint: Paint, tiny_recipe_file: Path, tmp_path: Path
) -> None:
    place = {"label": lambda n: f"p{n % 4}", "labels": lambda n: f"p{n % 4};odd" if n % 2 else f"p{n % 4}"}[
        column
    ]
    run = trained(
        tmp_path / "run",
        tiny_recipe_file,
        labels_file(paint, column, place),
        "--objective",
        objective,
        "--set",
        "objective.bits=16",
        "--set",
        "training.optimiser=rmsprop",
    )
    saved, student = read_head(run.head), load_network(run.student)
    assert (saved.head.kind, saved.head.in_dim, saved.head.out_dim) == ("hash", student.dim, 16)
    assert saved.objective == objective
    assert saved.student_digest == weights_digest(student)
    fresh = Head("hash", student.dim, 16, bias=True, seed=0)
    assert not torch.equal(saved.head.linear.weight, fresh.linear.weight)
    assert not torch.equal(saved.head.linear.bias, fresh.linear.bias)


def test_a_training_that_is_continued_ends_at_the_same_codes(
    paint: Paint, tiny_recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = changed(
        load(tiny_recipe_file), ["objective.name=csq", "objective.bits=16", "training.optimiser=rmsprop"]
    )
    data = from_manifest(labels_file(paint, "label", lambda n: f"p{n % 4}"), None)
    train(recipe, data, whole := RunFolder.create(tmp_path / "whole"))
    calls, compute = [], CentralSimilarity.__call__

    def dies(self: CentralSimilarity, *batch: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return compute(self, *batch)

    monkeypatch.setattr(CentralSimilarity, "__call__", dies)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, data, stopped := RunFolder.create(tmp_path / "stopped"))
    train(recipe, data, stopped)
    assert stopped.head.read_bytes() == whole.head.read_bytes()
    assert weights_digest(load_network(stopped.student)) == weights_digest(load_network(whole.student))


def test_classes_are_counted_over_all_images_for_every_batch_to_have_the_same_centres(
    paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(CentralSimilarity, "for_classes", lambda self, classes: told.append(classes))
    data = from_manifest(labels_file(paint, "label", lambda n: f"p{n % 10}"), None)
    tell_classes(CentralSimilarity(), data)
    tell_classes(CentralSimilarity(), replace(data, labels=np.eye(12, 15, dtype=np.int64)))
    assert told == [10, 15]


def test_a_training_looks_for_its_centres_once(
    paint: Paint, tiny_recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []

    def noting(classes: int, bits: int, seed: int) -> torch.Tensor:
        searched.append(classes)
        return hash_centres(classes, bits, seed)

    monkeypatch.setattr("student_trainer.distil.objectives.csq.hash_centres", noting)
    recipe = load(tiny_recipe_file, ["objective.name=csq", "objective.bits=16"])
    data = from_manifest(labels_file(paint, "label", lambda n: f"p{n % 10}"), None)
    train(recipe, data, RunFolder.create(tmp_path / "run"))
    assert searched == [10]


def test_too_few_bits_for_the_classes_are_refused_before_anything_is_written(
    paint: Paint, tiny_recipe_file: Path, tmp_path: Path
) -> None:
    labels = labels_file(paint, "label", lambda n: f"p{n % 10}")
    with pytest.raises(InvalidInput, match="10 classes are too many for centres of 4 bits"):
        trained(tmp_path / "run", tiny_recipe_file, labels, "--objective", "csq", "--set", "objective.bits=4")
    assert not (tmp_path / "run" / "recipe.toml").exists()


def test_48_bits_are_refused_for_csq_and_trained_by_dch(
    paint: Paint, tiny_recipe_file: Path, tmp_path: Path
) -> None:
    labels = labels_file(paint, "label", lambda n: f"p{n % 4}")
    with pytest.raises(InvalidInput, match="bits = 48"):
        trained(tmp_path / "a", tiny_recipe_file, labels, "--objective", "csq", "--set", "objective.bits=48")
    run = trained(
        tmp_path / "b",
        tiny_recipe_file,
        labels,
        "--objective",
        "dch",
        "--set",
        "training.epochs=1",
        "--set",
        "averaging.epochs=[]",
    )
    assert read_head(run.head).head.out_dim == 48


@pytest.mark.parametrize("objective", ["dch", "csq"])
def test_without_labels_it_is_refused_before_anything_is_written(
    objective: str, tiny_recipe_file: Path, tmp_path: Path
) -> None:
    command = ["train", "--run", tmp_path / "run", "--recipe", tiny_recipe_file, "--objective", objective]
    result = CliRunner().invoke(app, [str(part) for part in command])
    assert isinstance(result.exception, InvalidInput)
    assert "learns from labels" in str(result.exception)


def test_a_compact_student_goes_through_both_steps(
    paint: Paint, write_transfer_set: Callable[..., Path], tmp_path: Path
) -> None:
    """At its own size, 224 x 224, from the shipped recipes: features bought first, labels then."""
    vectors = np.random.default_rng(0).standard_normal((3, 2048)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    images = tuple(digest_files(paint(3)))
    (tmp_path / "one").mkdir()
    bought = TrainingData(images, teacher=vectors, teacher_revision="ab" * 32)
    write_transfer_set(bought, tmp_path / "one" / "transfer_set.sqlite")
    shorter = ("--set", "training.epochs=1", "--set", "training.device=cpu")
    first = CliRunner().invoke(
        app, ["train", "--run", str(tmp_path / "one"), "--recipe", "hash-mse", *shorter]
    )
    assert first.exit_code == 0, first.output
    one = RunFolder(tmp_path / "one")
    assert not one.head.exists()  # 2,048 dimensions on both sides
    labels = labels_file(paint, "label", lambda n: f"p{n % 2}", images=3)
    two = trained(tmp_path / "two", Path("hash-dch"), labels, "--weights", str(one.student), *shorter)
    assert load_network(two.initial_student).spec.name == "compact-v1-flatten"
    assert weights_digest(load_network(two.initial_student)) == weights_digest(load_network(one.student))
    assert read_head(two.head).head.in_dim == 2048


def test_the_second_step_asks_for_the_student_of_the_first(paint: Paint, tmp_path: Path) -> None:
    labels = labels_file(paint, "label", lambda n: f"p{n % 2}", images=3)
    with pytest.raises(InvalidInput, match=r"no ImageNet weights of compact-v1.*saved before"):
        trained(tmp_path / "run", Path("hash-csq"), labels, "--set", "training.device=cpu")
