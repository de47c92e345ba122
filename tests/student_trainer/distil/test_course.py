"""A training on mined tuples learns, and ends at the same weights however often it was stopped."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stopped_training import StopHere, stop_at

from shared.checkpoints import load_network, read_notes
from student_trainer.distil import train as training
from student_trainer.distil.backward import Step
from student_trainer.distil.checkpoint import Checkpoint
from student_trainer.distil.course import course
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import digest_files
from student_trainer.distil.objectives import get
from student_trainer.distil.schedule import Moment, Schedule
from student_trainer.distil.state import TrainingState
from student_trainer.distil.step import take_step
from student_trainer.distil.train import Outcome, train
from student_trainer.distil.tuples.mining import Findings, mine
from student_trainer.distil.tuples.schedule import Mined
from student_trainer.errors import InvalidInput
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder

TUPLES = (
    "objective.name=contrastive",
    "objective.negatives=3",
    "objective.anchors_per_epoch=6",
    "training.batch_size=12",
)
"""Two tuples of five images a step, three steps an epoch."""
STEPS = 9

Fit = Callable[..., tuple[RunFolder, Outcome]]


@pytest.fixture(scope="module")
def labelled(whole: RunFolder) -> TrainingData:
    """18 images of four places, without a teacher."""
    paths = sorted((whole.root.parent / "photographs").glob("*.png"))
    return TrainingData(tuple(digest_files(paths)), labels=np.arange(18) % 4)


@pytest.fixture(scope="module")
def tiny(whole: RunFolder) -> Path:
    """The tiny recipe."""
    return whole.root.parent / "tiny.toml"


@pytest.fixture(scope="module")
def unstopped(labelled: TrainingData, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Trained on tuples without a stop; not to be changed."""
    run = RunFolder.create(tmp_path_factory.mktemp("unstopped"))
    train(load(tiny, TUPLES), labelled, run)
    return run


@pytest.fixture
def fit(labelled: TrainingData, tiny: Path, tmp_path: Path) -> Fit:
    """Trains the tiny recipe on tuples, with changes, in a run folder of that name."""

    def fit_student(name: str, *changes: str, data: TrainingData | None = None) -> tuple[RunFolder, Outcome]:
        run = RunFolder.create(tmp_path / name)
        return run, train(load(tiny, [*TUPLES, *changes]), data or labelled, run)

    return fit_student


def events(run: RunFolder, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def same(one: Path, other: Path) -> bool:
    ours, theirs = (load_network(path).state_dict() for path in (one, other))
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_objectives_that_do_not_mine_keep_the_schedule_of_every_image_once(
    bought: TrainingData, tiny: Path
) -> None:
    recipe = load(tiny)
    assert course(recipe, get("rank-mixup")(), bought) == Schedule(18, recipe.training)


class TestWhatItLeaves:
    def test_every_step_and_every_mining_stands_in_the_curve(self, fit: Fit) -> None:
        run, outcome = fit("run", "objective.pool_images=12")
        assert outcome == Outcome(run.student, images=18, epochs=3, steps=STEPS)
        order = [json.loads(line)["event"] for line in run.metrics.read_text().splitlines()]
        assert order == ["mining", "step", "step", "step", "epoch"] * 3
        mined = events(run, "mining")
        assert [(line["step"], line["epoch"], line["anchors"]) for line in mined] == [
            (1, 1, 6),
            (4, 2, 6),
            (7, 3, 6),
        ]
        assert all(12 <= line["images"] <= 18 and -1 <= line["negative_similarity"] <= 1 for line in mined)
        assert {line["images"] for line in events(run, "step")} == {10}
        assert read_notes(run.student)["objective"] == "contrastive"

    def test_the_student_learns(self, fit: Fit) -> None:
        changes = ("training.epochs=5", "averaging.epochs=[]", "objective.anchors_per_epoch=18")
        run, _ = fit("run", *changes, "training.batch_size=90", "training.learning_rate=1e-4")
        losses = [line["loss"] for line in events(run, "epoch")]
        assert losses[-1] < 0.8 * losses[0]

    def test_known_pairs_are_the_tuples_first_two_images(
        self, fit: Fit, labelled: TrainingData, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pairs = np.array([[0, 4], [5, 1], [2, 14]])
        batches = []

        def noting(state: TrainingState, moment: Moment, *args: Any, **options: Any) -> Step:
            batches.append(moment.batch.reshape(-1, 5))
            return take_step(state, moment, *args, **options)

        monkeypatch.setattr("student_trainer.distil.train.take_step", noting)
        fit("run", data=replace(labelled, pairs=pairs))
        seen = [tuple(row[:2]) for batch in batches for row in batch.tolist()]
        assert sorted(seen) == sorted([(0, 4), (5, 1), (2, 14)] * 3)

    def test_labels_of_a_single_image_are_counted(
        self, fit: Fit, labelled: TrainingData, capsys: pytest.CaptureFixture[str]
    ) -> None:
        alone = np.array([*(np.arange(16) % 4), 8, 9])
        fit("run", "training.epochs=1", "averaging.epochs=[]", data=replace(labelled, labels=alone))
        assert "Labels with a single image: 2. Such an image can be a negative" in capsys.readouterr().err


class TestContinuing:
    @pytest.mark.parametrize("step", [5, 7])
    def test_a_training_stopped_within_an_epoch_goes_on_with_the_tuples_that_were_mined(
        self,
        fit: Fit,
        unstopped: RunFolder,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        step: int,
    ) -> None:
        monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(StopHere):
                fit("stopped")
        checkpoint = Checkpoint.load(tmp_path / "stopped" / "checkpoints")
        assert checkpoint is not None and checkpoint.mined is not None
        assert (checkpoint.step, checkpoint.mined["epoch"]) == (step - 1, (step - 2) // 3 + 1)

        mined: list[int] = []

        def noting(*args: Any, **options: Any) -> tuple[Mined, Findings]:
            mined.append(args[3])
            return mine(*args, **options)

        monkeypatch.setattr("student_trainer.distil.course.mine", noting)
        resumed, _ = fit("stopped")
        assert mined == [3]  # stopped in the second epoch, or after it
        self.check_equal(resumed, unstopped)

    def test_without_the_tuples_in_the_checkpoint_it_would_train_on_others(
        self, fit: Fit, unstopped: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, 6)
            with pytest.raises(StopHere):
                fit("stopped")
        folder = tmp_path / "stopped" / "checkpoints"
        checkpoint = Checkpoint.load(folder)
        assert checkpoint is not None
        replace(checkpoint, mined=None).save(folder)
        resumed, _ = fit("stopped")
        assert not same(resumed.student, unstopped.student)

    def test_a_training_stopped_before_its_first_checkpoint_starts_over(
        self, fit: Fit, unstopped: RunFolder
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, 2)
            with pytest.raises(StopHere):
                fit("stopped")
        self.check_equal(fit("stopped")[0], unstopped)

    def check_equal(self, resumed: RunFolder, unstopped: RunFolder) -> None:
        assert same(resumed.student, unstopped.student)
        kept, expected = (
            [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
            for lines in (run.metrics.read_text().splitlines() for run in (resumed, unstopped))
        )
        assert kept == expected


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "labels", "message"),
        [
            ((), None, "learns from labels, and there are none"),
            ((), np.arange(18), "no two images have the same label"),
            (("objective.negatives=4", "training.batch_size=90"), np.arange(18) % 4, "There are 4 labels"),
            (("objective.pool_images=2",), np.arange(18) % 4, r"The pool of 2 images drawn for epoch 1"),
            (("training.batch_size=4",), np.arange(18) % 4, r"training\.batch_size = 4 images"),
        ],
    )
    def test_data_that_fill_no_tuple_are_refused_before_anything_is_written(
        self,
        fit: Fit,
        labelled: TrainingData,
        tmp_path: Path,
        changes: tuple[str, ...],
        labels: Any,
        message: str,
    ) -> None:
        with pytest.raises(InvalidInput, match=message):
            fit("run", *changes, data=replace(labelled, labels=labels))
        assert list((tmp_path / "run").iterdir()) == []

    def test_other_labels_or_pairs_do_not_continue(self, fit: Fit, labelled: TrainingData) -> None:
        once = ("training.epochs=1", "averaging.epochs=[]")
        fit("run", *once)
        for changed in (
            replace(labelled, labels=np.arange(18) % 5),
            replace(labelled, pairs=np.array([[0, 4], [1, 5]])),
        ):
            with pytest.raises(InvalidInput, match="descriptors or labels have changed"):
                fit("run", *once, data=changed)
