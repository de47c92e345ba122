"""A training against the teacher describes anchors alone; a stop changes none of its weights."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stopped_training import StopHere, stop_at

from shared.checkpoints import load_network, weights_digest
from student_trainer.distil import train as training
from student_trainer.distil.backward import Chunk
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.data import TrainingData
from student_trainer.distil.heads import read_head
from student_trainer.distil.student import build_untrained
from student_trainer.distil.train import train
from student_trainer.errors import InvalidInput, TrainingFailed
from student_trainer.recipe import Recipe, load
from student_trainer.run_folder import RunFolder

NAMES = ["asym-contrastive", "asym-contrastive+", "asym-triplet", "asym-multi-similarity"]
TUPLES = (
    "objective.negatives=3",
    "objective.anchors_per_epoch=6",
    "objective.pool_images=16",
    "training.batch_size=3",
    "training.epochs=2",
    "averaging.epochs=[1, 2]",
)
"""Three anchors a step, two steps an epoch."""

Fit = Callable[..., RunFolder]


@pytest.fixture
def learned(bought: TrainingData) -> TrainingData:
    """18 bought images of four places, and which these are."""
    return replace(bought, labels=np.arange(18) % 4)


@pytest.fixture
def fit(learned: TrainingData, tiny_recipe_file: Path, tmp_path: Path) -> Fit:
    """Trains the tiny recipe under an objective, with changes, in a run folder of that name."""

    def fit_student(name: str, objective: str, *changes: str, data: TrainingData | None = None) -> RunFolder:
        run = RunFolder.create(tmp_path / name)
        train(
            load(tiny_recipe_file, [f"objective.name={objective}", *TUPLES, *changes]), data or learned, run
        )
        return run

    return fit_student


def events(run: RunFolder) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in run.metrics.read_text().splitlines())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_the_student_describes_anchors_and_is_taken_to_the_teachers_space(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Twice in each step, and once to mine; never a positive or a negative."""
    described: list[int] = []
    chunks = BatchSource.chunks

    def noting(source: BatchSource, batch: Any, *more: Any) -> Any:
        described.append(len(batch))
        yield from chunks(source, batch, *more)

    monkeypatch.setattr(BatchSource, "chunks", noting)
    run = fit("run", name)
    assert described == [18, *[6, 3, 3, 3, 3] * 2]  # and all of them once, for a projection to start from
    found = events(run)
    assert [line["event"] for line in found] == ["mining", "step", "step", "epoch"] * 2
    assert [line["images"] for line in found if line["event"] == "mining"] == [6, 6]
    saved = read_head(run.head)
    student = load_network(run.student)
    assert (saved.head.kind, saved.head.in_dim, saved.head.out_dim) == ("projection", student.dim, 8)
    assert (saved.objective, saved.student_digest) == (name, weights_digest(student))


def test_a_student_as_wide_as_its_teacher_learns_no_projection_and_comes_nearer(
    fit: Fit, learned: TrainingData, tiny_recipe: Recipe
) -> None:
    assert learned.teacher is not None
    dim = build_untrained(tiny_recipe).dim
    wide = replace(learned, teacher=np.pad(learned.teacher, ((0, 0), (0, dim - 8))))
    changes = ("training.epochs=12", "averaging.epochs=[]", "objective.anchors_per_epoch=18")
    rates = ("training.batch_size=6", "training.learning_rate=1e-3")
    run = fit("run", "asym-contrastive+", *changes, *rates, data=wide)
    losses = [line["loss"] for line in events(run) if line["event"] == "epoch"]
    assert losses[-1] < 0.7 * losses[0]
    assert not run.head.exists()


def test_a_training_stopped_within_an_epoch_ends_at_the_same_bits(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    unstopped = fit("unstopped", "asym-contrastive+")
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
    for step in (2, 4):
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(StopHere):
                fit("stopped", "asym-contrastive+")
    stopped = fit("stopped", "asym-contrastive+")
    ours, theirs = (load_network(run.student).state_dict() for run in (stopped, unstopped))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    heads = [read_head(run.head).head.linear.weight for run in (stopped, unstopped)]
    assert torch.equal(*heads)
    assert events(stopped) == events(unstopped)


def test_an_anchor_without_a_finite_descriptor_is_named(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = BatchSource.chunks

    def broken(source: BatchSource, batch: Any, *more: Any) -> Any:
        for chunk in chunks(source, batch, *more):
            yield Chunk(chunk.positions, chunk.images * float("nan")) if len(batch) == 3 else chunk

    monkeypatch.setattr(BatchSource, "chunks", broken)
    with pytest.raises(TrainingFailed, match=r"Step 1 \(epoch 1\): A descriptor is not finite"):
        fit("run", "asym-triplet")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": None}, "'asym-triplet' learns from labels, and there are none"),
        ({"teacher": None}, "'asym-triplet' learns from bought descriptors, and there are none"),
        ({"labels": np.arange(18)}, "no two images have the same label"),
        ({"pairs": np.empty((0, 2), np.int64)}, "there is no pair among 18"),
    ],
)
def test_data_that_cannot_teach_it_are_refused_before_anything_is_written(
    fit: Fit, learned: TrainingData, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        fit("run", "asym-triplet", data=replace(learned, **changed))
    assert list((tmp_path / "run").iterdir()) == []
