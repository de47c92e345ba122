"""Held-back images are never trained on, and watching a training changes nothing about it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stopped_training import StopHere, stop_at

from shared.checkpoints import load_network
from shared.extraction import describe
from student_trainer.distil.backward import BadNumbers
from student_trainer.distil.batches import BatchSource
from student_trainer.distil.data import TrainingData
from student_trainer.distil.label_free import score
from student_trainer.distil.train import Outcome, train
from student_trainer.distil.validation import Validation, hold_back
from student_trainer.errors import InvalidInput, TrainingFailed
from student_trainer.recipe import Recipe, load
from student_trainer.run_folder import RunFolder

WATCHED = ("validation.share=0.5", "training.epochs=3", "averaging.epochs=[2, 3]", "training.batch_size=12")

Fit = Callable[..., tuple[RunFolder, Outcome]]


@pytest.fixture
def recipe(tiny_recipe_file: Path) -> Recipe:
    return load(tiny_recipe_file, WATCHED)


@pytest.fixture
def fit(many: TrainingData, tiny_recipe_file: Path, tmp_path: Path) -> Fit:
    """Trains the tiny recipe with half of 46 images held back."""

    def fit_student(name: str, *changes: str, data: TrainingData | None = None) -> tuple[RunFolder, Outcome]:
        run = RunFolder.create(tmp_path / name)
        return run, train(load(tiny_recipe_file, [*WATCHED, *changes]), data or many, run)

    return fit_student


def events(run: RunFolder, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def same(one: Path, other: Path) -> bool:
    ours, theirs = load_network(one).state_dict(), load_network(other).state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


class TestSplit:
    def test_it_is_off_unless_asked_for(self, many: TrainingData, tiny_recipe: Recipe) -> None:
        assert hold_back(tiny_recipe, many) == (list(range(46)), [])

    def test_every_image_is_on_one_side(self, many: TrainingData, recipe: Recipe) -> None:
        learned, held = hold_back(recipe, many)
        assert len(held) == 23
        assert sorted([*learned, *held]) == list(range(46))
        assert (learned, held) == (sorted(learned), sorted(held))

    def test_seed_and_bytes_decide_and_the_order_does_not(
        self, many: TrainingData, recipe: Recipe, tiny_recipe_file: Path
    ) -> None:
        order = np.random.default_rng(0).permutation(46).tolist()
        shuffled = many.take(order)
        _, held = hold_back(recipe, many)
        _, held_of_shuffled = hold_back(recipe, shuffled)
        assert {many.images[row] for row in held} == {shuffled.images[row] for row in held_of_shuffled}
        assert hold_back(load(tiny_recipe_file, [*WATCHED, "training.seed=1"]), many)[1] != held

    def test_too_few_to_compare_ten_neighbours_are_refused(
        self, many: TrainingData, tiny_recipe_file: Path
    ) -> None:
        little = load(tiny_recipe_file, ["validation.share=0.4"])
        with pytest.raises(InvalidInput, match=r"0\.4 of 46 images holds back 18, and at least 20"):
            hold_back(little, many)

    def test_without_a_teacher_there_is_nothing_to_compare_with(
        self, many: TrainingData, recipe: Recipe
    ) -> None:
        with pytest.raises(InvalidInput, match=r"no bought descriptors.*student-trainer evaluate"):
            hold_back(recipe, replace(many, teacher=None))

    def test_a_refusal_comes_before_anything_is_written(self, fit: Fit, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="holds back 5"):
            fit("run", "validation.share=0.1")
        assert list((tmp_path / "run").iterdir()) == []


class TestTraining:
    def test_a_held_back_image_is_in_no_batch(
        self, fit: Fit, many: TrainingData, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: set[str] = set()
        original = BatchSource.teacher

        def noting(source: BatchSource, batch: Any) -> Any:
            seen.update(source.data.images[row].digest for row in batch)
            return original(source, batch)

        monkeypatch.setattr(BatchSource, "teacher", noting)
        _, outcome = fit("run")
        learned, _ = hold_back(recipe, many)
        assert seen == {many.images[row].digest for row in learned}
        assert outcome.images == len(learned) == 23

    def test_watching_changes_nothing_about_the_training(
        self, fit: Fit, many: TrainingData, recipe: Recipe
    ) -> None:
        watched, _ = fit("watched")
        learned, _ = hold_back(recipe, many)
        unwatched, _ = fit("unwatched", "validation.share=0.0", data=many.take(learned))
        assert same(watched.initial_student, unwatched.initial_student)
        assert same(watched.student, unwatched.student)

    def test_batch_statistics_are_not_learned_from_held_back_images(
        self, fit: Fit, many: TrainingData, recipe: Recipe
    ) -> None:
        per_chunk = ("training.batch_norm=per-chunk", "training.chunk_size=23", "training.batch_size=23")
        watched, _ = fit("watched", *per_chunk)
        learned, _ = hold_back(recipe, many)
        unwatched, _ = fit("unwatched", "validation.share=0.0", *per_chunk, data=many.take(learned))
        assert same(watched.student, unwatched.student)

    def test_before_after_each_epoch_and_of_the_final_weights_it_is_logged(self, fit: Fit) -> None:
        run, _ = fit("run")
        assert [(e["epoch"], e["step"]) for e in events(run, "validation")] == [
            (0, 0),
            (1, 2),
            (2, 4),
            (3, 6),
        ]
        (final,) = events(run, "student")
        assert set(final) == {"event", "step", "images", "overlap@10", "AP", "tau"}
        assert (final["step"], final["images"], final["tau"]) == (6, 23, 0.75)

    def test_every_so_many_epochs_and_after_the_last(self, fit: Fit) -> None:
        run, _ = fit("run", "validation.every_epochs=2")
        assert [e["epoch"] for e in events(run, "validation")] == [0, 2, 3]

    def test_the_numbers_are_those_of_the_saved_students(
        self, fit: Fit, many: TrainingData, recipe: Recipe
    ) -> None:
        run, _ = fit("run")
        held = many.take(hold_back(recipe, many)[1])
        assert held.teacher is not None
        paths = [image.path for image in held.images]
        pairs = (
            (events(run, "validation")[0], run.initial_student),
            (events(run, "student")[0], run.student),
        )
        for logged, file in pairs:
            expected = score(describe(load_network(file), paths, 32, device="cpu"), held.teacher, 10, 0.75)
            assert logged["overlap@10"] == pytest.approx(expected.overlap, abs=1e-6)
            assert logged["AP"] == pytest.approx(expected.average_precision, abs=1e-6)

    def test_relevant_is_what_the_chosen_threshold_says(self, fit: Fit) -> None:
        run, _ = fit("run", "objective.tau=auto")
        (chosen,) = events(run, "threshold")
        assert {e["tau"] for e in events(run, "validation")} == {chosen["tau"]}

    @pytest.mark.parametrize("step", [1, 4, 6])
    def test_a_stopped_training_ends_at_the_same_weights_and_the_same_curve(
        self, fit: Fit, step: int
    ) -> None:
        whole, _ = fit("whole")
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(StopHere):
                fit("stopped")
        resumed, _ = fit("stopped")
        assert same(resumed.student, whole.student)
        for kind in ("validation", "student"):
            assert events(resumed, kind) == events(whole, kind)

    def test_where_only_the_student_is_missing_its_score_is_not_logged_twice(self, fit: Fit) -> None:
        run, outcome = fit("run")
        run.student.unlink()
        _, again = fit("run")
        assert again == outcome
        assert len(events(run, "student")) == 1
        assert fit("run")[1] == replace(outcome, already_finished=True)


def test_an_image_without_a_descriptor_is_named(many: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    from student_trainer.distil import validation

    def refuse(*arguments: Any) -> Any:
        raise BadNumbers("A descriptor is not finite", [3])

    monkeypatch.setattr(validation, "describe_without_graph", refuse)
    source = BatchSource(None, many, None, 1, torch.device("cpu"))  # type: ignore[arg-type]
    with pytest.raises(TrainingFailed, match=r"held-back images: A descriptor is not finite; .*003\.png"):
        Validation(source, 0.75).scores(torch.nn.Linear(1, 1))  # type: ignore[arg-type]


def test_an_objective_without_a_threshold_is_measured_at_the_one_that_fits(
    many: TrainingData, tiny_recipe_file: Path
) -> None:
    from student_trainer.distil.threshold import choose

    source = BatchSource(None, many, None, 1, torch.device("cpu"))  # type: ignore[arg-type]
    assert many.teacher is not None
    supervised = load(tiny_recipe_file, ["objective.name=ap"])
    assert Validation.of(source, supervised).tau == choose(many.teacher).tau
