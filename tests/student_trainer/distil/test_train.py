"""Training leaves what it promises, and ends at the same weights however often it was stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stopped_training import StopHere, stop_at
from torch import Tensor

from shared.batch_norm import batch_norm_layers
from shared.checkpoints import load_network, read_notes
from shared.digest import sha256_hex
from shared.images import Preprocessing
from student_trainer.distil import train as training
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.checkpoint import Checkpoint
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import open_store
from student_trainer.distil.threshold import choose
from student_trainer.distil.train import Outcome, train
from student_trainer.errors import InvalidInput, StorageFailed, TrainingFailed
from student_trainer.lock import exclusive
from student_trainer.recipe import Recipe, load
from student_trainer.run_folder import RunFolder

STEPS = 6
"""3 epochs of 18 images in 2 batches."""

ONE_EPOCH = ("training.epochs=1", "averaging.epochs=[]")
ENOUGH_TO_LEARN = (
    "training.epochs=10",
    "averaging.epochs=[]",
    "training.batch_size=18",
    "training.chunk_size=18",
    "training.learning_rate=1e-4",
)

Fit = Callable[..., tuple[RunFolder, Outcome]]


@pytest.fixture
def fit(bought: TrainingData, tiny_recipe_file: Path, tmp_path: Path) -> Fit:
    """Trains the tiny recipe with changes, in a run folder of that name."""

    def fit_student(
        name: str, *changes: str, data: TrainingData | None = None, restart: bool = False
    ) -> tuple[RunFolder, Outcome]:
        run = RunFolder.create(tmp_path / name)
        return run, train(load(tiny_recipe_file, changes), data or bought, run, restart=restart)

    return fit_student


def weights(path: Path) -> dict[str, Tensor]:
    return load_network(path).state_dict()


def same(one: Path, other: Path) -> bool:
    ours, theirs = weights(one), weights(other)
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def events(run: RunFolder, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


class TestWhatItLeaves:
    def test_all_files_of_the_run_folder(self, fit: Fit) -> None:
        run, outcome = fit("run")
        assert outcome == Outcome(run.student, images=18, epochs=3, steps=STEPS)
        assert load(run.recipe).training.epochs == 3
        for file in (run.initial_student, run.student, run.metrics):
            assert file.is_file()
        assert [file.name for file in run.checkpoints.iterdir()] == ["last.pt"]

    def test_the_curve_has_every_step_and_every_epoch(self, fit: Fit) -> None:
        run, _ = fit("run", "training.learning_rate_decay=0.5")
        steps, epochs = events(run, "step"), events(run, "epoch")
        assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
        assert [step["epoch"] for step in steps] == [1, 1, 2, 2, 3, 3]
        assert [step["images"] for step in steps] == [9] * STEPS
        assert set(steps[0]) == {
            "event", "step", "epoch", "images", "loss", "learning_rate", "grad_norm", "seconds",
        }  # fmt: skip
        assert steps[5]["learning_rate"] == pytest.approx(1e-3 * np.exp(-1.0))
        assert all(step["grad_norm"] > 0 for step in steps)
        assert [epoch["averaged"] for epoch in epochs] == [False, True, True]
        assert epochs[1]["loss"] == pytest.approx(np.mean([step["loss"] for step in steps[2:4]]))

    def test_the_saved_students_say_what_they_were_made_from(
        self, whole: RunFolder, bought: TrainingData
    ) -> None:
        for file in (whole.initial_student, whole.student):
            assert read_notes(file) == {
                "recipe": load(whole.recipe).digest(),
                "objective": "rank-mixup",
                "training_data": bought.digest(),
                "teacher_revision": "ab" * 32,
                "transfer_set": bought.transfer_set_digest,
            }

    def test_the_student_learns(self, fit: Fit) -> None:
        run, _ = fit("run", "objective.name=rank", *ENOUGH_TO_LEARN)
        losses = [epoch["loss"] for epoch in events(run, "epoch")]
        assert losses[-1] < 0.7 * losses[0]

    def test_a_supervised_training_learns_from_labels_alone(self, fit: Fit, bought: TrainingData) -> None:
        labelled = replace(bought, teacher=None, teacher_revision=None, labels=np.arange(18) % 4)
        run, _ = fit("run", "objective.name=ap", *ENOUGH_TO_LEARN, data=labelled)
        losses = [epoch["loss"] for epoch in events(run, "epoch")]
        assert losses[-1] < 0.7 * losses[0]
        assert "transfer_set" not in read_notes(run.student)

    def test_where_most_images_have_no_neighbour_it_says_so(
        self, fit: Fit, bought: TrainingData, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fit("run", "training.epochs=1", "averaging.epochs=[]", "objective.tau=0.999")
        said = capsys.readouterr()
        assert "18 of 18 images have no other image more similar than tau = 0.999" in said.err
        assert "lower the threshold" in said.err
        assert said.out == ""

    def test_a_chosen_threshold_is_said_logged_and_noted_in_the_student(
        self, fit: Fit, bought: TrainingData, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert bought.teacher is not None
        run, _ = fit("run", "objective.tau=auto", *ONE_EPOCH)
        chosen = choose(bought.teacher)
        assert capsys.readouterr().err.count(chosen.sentence()) == 1
        assert events(run, "threshold") == [
            {"event": "threshold", "step": 0, "tau": chosen.tau, "chosen": chosen.sentence()}
        ]
        assert read_notes(run.student)["tau"] == f"{chosen.tau:g}"
        assert load(run.recipe).objective.settings["tau"] == "auto"

    def test_a_chosen_threshold_trains_as_the_same_number_in_the_recipe_does(
        self, fit: Fit, bought: TrainingData
    ) -> None:
        assert bought.teacher is not None
        auto, _ = fit("auto", "objective.tau=auto", *ONE_EPOCH)
        number, _ = fit("number", f"objective.tau={choose(bought.teacher).tau}", *ONE_EPOCH)
        assert same(auto.student, number.student)


class TestMethod:
    def test_batch_norm_keeps_its_statistics_and_trains_its_affine_weights(self, whole: RunFolder) -> None:
        before, after = load_network(whole.initial_student), load_network(whole.student)
        pairs = list(zip(batch_norm_layers(before), batch_norm_layers(after), strict=True))
        for old, new in pairs:
            assert torch.equal(old.running_mean, new.running_mean)
            assert torch.equal(old.running_var, new.running_var)
        assert any(not torch.equal(old.weight, new.weight) for old, new in pairs)
        assert not torch.equal(before.pool.p, after.pool.p)

    def test_a_random_student_takes_its_statistics_from_the_training_images(self, whole: RunFolder) -> None:
        for layer in batch_norm_layers(load_network(whole.initial_student)):
            assert layer.running_mean.abs().max() > 0

    def test_the_final_weights_are_the_mean_of_those_after_the_named_epochs(
        self, fit: Fit, whole: RunFolder
    ) -> None:
        second, _ = fit("second", "averaging.epochs=[2]")
        third, _ = fit("third", "averaging.epochs=[3]")
        last, _ = fit("last", "averaging.epochs=[]")
        assert same(third.student, last.student)
        assert not same(second.student, third.student)
        two, three = weights(second.student), weights(third.student)
        for name, value in weights(whole.student).items():
            if value.is_floating_point():
                torch.testing.assert_close(value, (two[name] + three[name]) / 2, rtol=1e-6, atol=1e-8)

    def test_the_chunk_size_changes_memory_and_not_the_result(self, fit: Fit) -> None:
        small, _ = fit("small", "training.chunk_size=1", *ONE_EPOCH)
        large, _ = fit("large", "training.chunk_size=100", *ONE_EPOCH)
        # The first step is the same to rounding; later ones feel that Adam divides by small gradients.
        one, other = events(small, "step")[0], events(large, "step")[0]
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-2)

    def test_the_seed_decides_everything(self, fit: Fit, whole: RunFolder) -> None:
        again, _ = fit("again")
        other, _ = fit("other", "training.seed=1", *ONE_EPOCH)
        assert same(again.student, whole.student)
        assert not same(other.initial_student, whole.initial_student)
        assert events(other, "step")[0]["loss"] != events(whole, "step")[0]["loss"]

    def test_batch_statistics_per_chunk_are_there_for_comparison(self, fit: Fit) -> None:
        run, _ = fit(
            "run",
            "training.batch_norm=per-chunk",
            "training.chunk_size=9",
            "training.batch_size=18",
            *ONE_EPOCH,
        )
        old, new = (batch_norm_layers(load_network(file))[0] for file in (run.initial_student, run.student))
        assert not torch.equal(old.running_mean, new.running_mean)

    def test_the_callers_own_settings_of_torch_are_left_alone(self, fit: Fit) -> None:
        torch.use_deterministic_algorithms(False)
        random_state = torch.get_rng_state()
        fit("run", *ONE_EPOCH)
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.equal(torch.get_rng_state(), random_state)


class TestContinuing:
    @pytest.mark.parametrize("step", [1, 3, 6])
    def test_a_stopped_training_ends_at_the_weights_of_one_that_was_not(
        self, fit: Fit, whole: RunFolder, step: int, tmp_path: Path
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(StopHere):
                fit("stopped")
        assert not (tmp_path / "stopped" / "student.safetensors").exists()
        resumed, outcome = fit("stopped")
        assert not outcome.already_finished
        assert same(resumed.student, whole.student)
        assert same(resumed.initial_student, whole.initial_student)
        assert [e["step"] for e in events(resumed, "step")] == list(range(1, STEPS + 1))
        assert [e["loss"] for e in events(resumed, "step")] == [e["loss"] for e in events(whole, "step")]
        assert [e["loss"] for e in events(resumed, "epoch")] == [e["loss"] for e in events(whole, "epoch")]

    def test_a_chosen_threshold_is_logged_once_however_often_training_was_stopped(self, fit: Fit) -> None:
        for step in (1, 3):
            with pytest.MonkeyPatch.context() as patch:
                stop_at(patch, step)
                with pytest.raises(StopHere):
                    fit("stopped", "objective.tau=auto")
        resumed, _ = fit("stopped", "objective.tau=auto")
        assert [line["event"] for line in map(json.loads, resumed.metrics.read_text().splitlines())] == [
            "threshold", "step", "step", "epoch", "step", "step", "epoch", "step", "step", "epoch"
        ]  # fmt: skip

    def test_long_epochs_are_taken_up_in_the_middle(
        self, fit: Fit, whole: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, 4)
            with pytest.raises(StopHere):
                fit("stopped")
        checkpoint = Checkpoint.load(tmp_path / "stopped" / "checkpoints")
        assert checkpoint is not None
        assert (checkpoint.step, len(checkpoint.epoch_losses)) == (3, 1)
        resumed, _ = fit("stopped")
        assert same(resumed.student, whole.student)
        assert [e["loss"] for e in events(resumed, "epoch")] == [e["loss"] for e in events(whole, "epoch")]

    @pytest.mark.parametrize("place", ["in the second epoch", "in a checkpoint"])
    def test_a_killed_process_continues_to_the_same_weights(
        self,
        fit: Fit,
        whole: RunFolder,
        tmp_path: Path,
        tiny_recipe_file: Path,
        bought: TrainingData,
        place: str,
    ) -> None:
        run = RunFolder.create(tmp_path / "killed")
        killed = run_and_kill(run, tiny_recipe_file, bought, place)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert run.initial_student.exists()
        assert not run.student.exists()
        resumed, _ = fit("killed")
        assert same(resumed.student, whole.student)
        assert [e["step"] for e in events(resumed, "step")] == list(range(1, STEPS + 1))

    def test_a_finished_training_is_left_alone(self, fit: Fit, whole: RunFolder, tmp_path: Path) -> None:
        run = RunFolder(tmp_path / "run")
        shutil.copytree(whole.root, run.root)
        before = {path: path.stat().st_mtime_ns for path in run.root.rglob("[!.]*")}
        _, outcome = fit("run")
        assert outcome == Outcome(run.student, images=18, epochs=3, steps=STEPS, already_finished=True)
        assert {path: path.stat().st_mtime_ns for path in run.root.rglob("[!.]*")} == before

    def test_a_training_that_stopped_before_it_saved_the_student_saves_it(
        self, fit: Fit, whole: RunFolder, tmp_path: Path
    ) -> None:
        run = RunFolder(tmp_path / "run")
        shutil.copytree(whole.root, run.root)
        run.student.unlink()
        _, outcome = fit("run")
        assert not outcome.already_finished
        assert same(run.student, whole.student)

    def test_initial_weights_are_not_needed_any_more_to_continue(
        self, fit: Fit, whole: RunFolder, tmp_path: Path
    ) -> None:
        start = tmp_path / "start.safetensors"
        shutil.copy(whole.student, start)
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, 3)
            with pytest.raises(StopHere):
                fit("stopped", f"student.weights={start}")
        start.unlink()
        resumed, _ = fit("stopped", f"student.weights={start}")
        assert same(resumed.initial_student, whole.student)
        assert not same(resumed.student, whole.student)


class TestRefusals:
    def test_a_changed_recipe_does_not_continue_and_restart_starts_over(
        self, fit: Fit, whole: RunFolder
    ) -> None:
        fit("run", "training.seed=1", *ONE_EPOCH)
        with pytest.raises(InvalidInput, match=r"training\.seed was 1 and is 0.*--restart"):
            fit("run")
        run, outcome = fit("run", restart=True)
        assert not outcome.already_finished
        assert same(run.student, whole.student)
        assert len(events(run, "step")) == STEPS

    def test_restart_starts_over_where_the_checkpoints_are_a_link_to_another_disk(
        self, fit: Fit, tmp_path: Path
    ) -> None:
        run, _ = fit("run", "training.seed=1", *ONE_EPOCH)
        shutil.move(run.checkpoints, tmp_path / "larger disk")
        run.checkpoints.symlink_to(tmp_path / "larger disk")
        run, outcome = fit("run", *ONE_EPOCH, restart=True)
        assert not outcome.already_finished
        assert run.checkpoints.is_symlink()
        assert len(events(run, "step")) == outcome.steps

    def test_a_changed_transfer_set_does_not_continue(self, fit: Fit, bought: TrainingData) -> None:
        fit("run", *ONE_EPOCH)
        with pytest.raises(InvalidInput, match="descriptors or labels have changed"):
            fit("run", *ONE_EPOCH, data=bought.take(range(17)))

    def test_labels_that_are_missing_are_missed_before_anything_is_written(
        self, fit: Fit, tmp_path: Path
    ) -> None:
        with pytest.raises(InvalidInput, match="learns from labels"):
            fit("run", "objective.name=ap")
        assert list((tmp_path / "run").iterdir()) == []

    def test_a_diverging_training_ends_with_the_step_and_keeps_the_checkpoint(self, fit: Fit) -> None:
        with pytest.raises(TrainingFailed, match=r"Step [1-9] \(epoch \d\): .*--set training\.learning_rate"):
            fit("run", "training.learning_rate=1e30")

    def test_an_image_whose_descriptor_is_not_finite_is_named(
        self, fit: Fit, bought: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from student_trainer.distil import batches

        marked = {}

        def normalise(pixels: Tensor, preprocessing: object) -> Tensor:
            images = pixels.permute(0, 3, 1, 2).float() / 255
            for row, image in enumerate(pixels):
                if sha256_hex(image.numpy().tobytes()) == marked["pixels"]:
                    images[row] = torch.inf
            return images

        store = open_store(tmp_path / "probe", bought.images, Preprocessing(32))
        marked["pixels"] = sha256_hex(store.array(7).tobytes())
        monkeypatch.setattr(batches, "normalise", normalise)
        with pytest.raises(
            TrainingFailed, match=r"Step \d+ \(epoch 1\): .*not finite; look at .*007\.png\. "
        ):
            fit("run")

    def test_weights_that_are_not_finite_end_the_step_that_made_them(
        self, fit: Fit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = torch.optim.Adam.step
        taken: list[None] = []

        def breaking(optimiser: torch.optim.Adam) -> None:
            original(optimiser)
            taken.append(None)
            if len(taken) == 3:
                with torch.no_grad():
                    optimiser.param_groups[0]["params"][0].fill_(torch.nan)

        monkeypatch.setattr(torch.optim.Adam, "step", breaking)
        with pytest.raises(TrainingFailed, match=r"Step 3 \(epoch 2\): the weights '\S+' are not finite"):
            fit("run")

    def test_an_image_that_the_objective_cannot_take_is_named(
        self, fit: Fit, bought: TrainingData, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = BatchSource.teacher

        def teacher(source: BatchSource, batch: Any) -> Tensor | None:
            rows = original(source, batch)
            assert rows is not None
            rows[torch.from_numpy(batch == 7)] = torch.nan
            return rows

        monkeypatch.setattr(BatchSource, "teacher", teacher)
        with pytest.raises(
            TrainingFailed, match=r"Step \d+ \(epoch 1\): the objective .*; look at .*/007\.png$"
        ):
            fit("run")

    def test_where_no_image_has_a_finite_descriptor_none_is_blamed(
        self, fit: Fit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from student_trainer.distil import batches

        original = batches.normalise
        monkeypatch.setattr(batches, "normalise", lambda pixels, how: original(pixels, how) * torch.inf)
        with pytest.raises(
            TrainingFailed, match=r"not finite in any image of the batch, so look at the weights"
        ):
            fit("run")

    def test_a_bought_image_that_changed_is_named(self, fit: Fit, bought: TrainingData) -> None:
        bought.images[4].path.write_bytes(bought.images[5].path.read_bytes())
        with pytest.raises(InvalidInput, match=r"004\.png has changed"):
            fit("run")

    def test_an_image_that_cannot_be_decoded_is_left_out_and_named(
        self, fit: Fit, bought: TrainingData, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cut = bought.images[2].path.read_bytes()[:120]
        bought.images[2].path.write_bytes(cut)
        images = list(bought.images)
        images[2] = replace(images[2], digest=sha256_hex(cut))
        _, outcome = fit("run", *ONE_EPOCH, data=replace(bought, images=tuple(images)))
        assert outcome.images == 17
        assert "1 of 18 images are left out" in capsys.readouterr().err
        _, again = fit("run", *ONE_EPOCH, data=replace(bought, images=tuple(images)))
        assert (again.images, again.already_finished) == (17, True)

    def test_two_trainings_in_one_run_folder_are_refused(self, fit: Fit, tmp_path: Path) -> None:
        with exclusive(RunFolder.create(tmp_path / "run")), pytest.raises(InvalidInput, match="at work on"):
            fit("run")

    def test_a_device_that_is_not_there_is_refused(self, fit: Fit) -> None:
        with pytest.raises(InvalidInput, match=r"training\.device"):
            fit("run", "training.device=nonsense")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("student.arch=resnet35", "resnet35"),
            ("student.pooling=gemm", "gemm"),
            ("student.weights=/nowhere.safetensors", r"student\.weights: .*/nowhere\.safetensors"),
        ],
    )
    def test_a_student_that_cannot_be_built_is_refused(self, fit: Fit, change: str, message: str) -> None:
        with pytest.raises(InvalidInput, match=message):
            fit("run", change)

    def test_a_run_folder_that_cannot_be_written_is_a_storage_error(self, fit: Fit, tmp_path: Path) -> None:
        (tmp_path / "run" / "metrics.jsonl").mkdir(parents=True)
        with pytest.raises(StorageFailed, match="Cannot write to the run folder"):
            fit("run")


KILLER = """
import os, pickle, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from student_trainer.distil import train as training
from student_trainer.distil.log.metrics import MetricsLog
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder

def die():
    os.kill(os.getpid(), signal.SIGKILL)

place, run, recipe, data = sys.argv[1:]
if place == "in the second epoch":
    write = MetricsLog.write
    def dying_write(log, event, values):
        write(log, event, values)
        if values["step"] == 3:
            die()
    MetricsLog.write = dying_write
if place == "in a checkpoint":
    save = torch.save
    saved = []
    def dying_save(content, file):
        saved.append(None)
        save(content, file)
        if len(saved) == 2:
            file.flush()
            die()
    torch.save = dying_save
training.train(load(recipe), pickle.loads(Path(data).read_bytes()), RunFolder(Path(run)))
"""


def run_and_kill(
    run: RunFolder, recipe: Path, data: TrainingData, place: str
) -> "subprocess.CompletedProcess[str]":
    """Train in a process of its own that is killed at ``place``."""
    import pickle

    pickled = run.root.parent / "data.pickle"
    pickled.write_bytes(pickle.dumps(data))
    command = [sys.executable, "-c", KILLER, place, str(run.root), str(recipe), str(pickled)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)


def test_the_recipe_in_the_run_folder_is_the_one_that_was_trained(
    whole: RunFolder, tiny_recipe: Recipe
) -> None:
    assert load(whole.recipe).digest() == tiny_recipe.digest()
