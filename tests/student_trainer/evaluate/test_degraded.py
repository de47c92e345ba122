"""Students are shown images as they were trained for, or worse; the teacher sees them as they are."""

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from shared.checkpoints import load_network
from shared.extraction import describe
from shared.images import Preprocessing
from shared.views import WHOLE, Degradation, ImageView
from student_trainer.datasets.manifest import read_manifest
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.benchmark.comparison import Comparison
from student_trainer.evaluate.benchmark.scoring import Options
from student_trainer.evaluate.commands import evaluate
from student_trainer.evaluate.contestants import line_up
from student_trainer.evaluate.document import BEFORE, STUDENT, TEACHER, Evaluation, read_evaluation
from student_trainer.evaluate.labelled import score
from student_trainer.evaluate.table import as_text
from student_trainer.publish.card import build_card
from student_trainer.publish.facts import gather
from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder

app = typer.Typer()
app.command()(evaluate)
WORSE = Degradation("downsample", 4)


def measured(run: RunFolder, *arguments: object) -> Evaluation:
    """Run the command and read what it wrote; errors come through as they are."""
    command = ["--run", str(run.root), "--device", "cpu", *map(str, arguments)]
    outcome = CliRunner().invoke(app, command, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return read_evaluation(run.evaluation)


def trained_on(run: RunFolder, **images: object) -> RunFolder:
    """The run, as if its student had been trained on such images."""
    recipe = Recipe.model_validate({"images": {"longest_side_px": 48, **images}})
    recipe.write(run.recipe)
    return run


def map_of(checkpoint: Path, manifest: Path, view: ImageView) -> float:
    """Straight from descriptors of images in that view."""
    entries = read_manifest(manifest, "test")
    prepared = Preprocessing(48, view=view)
    rows = describe(load_network(checkpoint), [e.path for e in entries], 48, preprocessing=prepared)
    query = np.array([entry.is_query for entry in entries])
    labels = np.array([entry.label for entry in entries])
    return score(rows[query], rows[~query], labels[query].tolist(), labels[~query].tolist()).map_step


def test_the_teacher_sees_the_clean_image_and_the_students_the_degraded_one(
    run: RunFolder, other_run: RunFolder, manifest: Path
) -> None:
    options = ("--manifest", manifest, "--teacher", other_run.student)
    clean, worse = measured(run, *options), measured(run, *options, "--degrade", "downsample:4")
    assert worse.models[TEACHER].map_step == clean.models[TEACHER].map_step
    assert worse.models[TEACHER].view is None
    expected = map_of(run.student, manifest, ImageView(degradation=WORSE))
    assert worse.models[STUDENT].map_step == pytest.approx(expected)
    assert clean.models[STUDENT].map_step == pytest.approx(map_of(run.student, manifest, WHOLE))
    for name in (BEFORE, STUDENT):
        assert worse.models[name].view == "48 px, down-sampled by 4 and enlarged again"


def test_a_student_is_measured_as_its_recipe_shows_images_and_the_table_says_so(
    run: RunFolder, manifest: Path
) -> None:
    trained_on(run, shortest_side_px=40, crop_px=32, degrade="crop:0.8")
    evaluation = measured(run, "--manifest", manifest)
    view = ImageView(40, 32, Degradation("crop", 0.8))
    student = evaluation.models[STUDENT]
    assert student.map_step == pytest.approx(map_of(run.student, manifest, view))
    words = "shortest side 40 px, the middle 32 x 32 px, the middle 0.8 of each side alone"
    assert (student.image_size, student.view) == (32, words)
    assert f"Every image is shown so: {words}." in as_text(evaluation)
    assert f"| images | RGB, {words} |" in build_card(gather(run))


def test_a_student_of_degraded_images_can_be_measured_on_clean_ones(run: RunFolder, manifest: Path) -> None:
    trained_on(run, degrade="downsample:4")
    assert line_up(run, None, [], None, None)[-1].view == ImageView(degradation=WORSE)
    clean = measured(run, "--manifest", manifest, "--degrade", "none").models[STUDENT]
    assert (clean.view, clean.image_size) == (None, 48)
    assert clean.map_step == pytest.approx(map_of(run.student, manifest, WHOLE))


def test_an_image_size_that_is_given_shows_whole_images(run: RunFolder, other_run: RunFolder) -> None:
    trained_on(run, shortest_side_px=40, crop_px=32, degrade="downsample:4")
    worse = ImageView(degradation=WORSE)
    views = {one.name: one.view for one in line_up(run, other_run.student, [], 64, None)}
    assert views == {TEACHER: WHOLE, BEFORE: worse, STUDENT: worse}
    views = {one.name: one.view for one in line_up(run, other_run.student, [], None, None)}
    assert views[TEACHER] == ImageView(40, 32) and views[STUDENT] == ImageView(40, 32, WORSE)
    views = {one.name: one.view for one in line_up(run, other_run.student, [], None, 64)}
    assert views[TEACHER] == WHOLE and views[STUDENT].crop_px == 32


def test_what_is_no_degradation_is_refused(run: RunFolder, manifest: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"--degrade: 'blur' is no degradation: .* Images as they are: none"
    ):
        measured(run, "--manifest", manifest, "--degrade", "blur")


def test_a_landmark_benchmark_asks_for_whole_images(run: RunFolder) -> None:
    trained_on(run, shortest_side_px=40, crop_px=32)
    contestants = line_up(run, None, [], None, None)
    comparison = Comparison(None, Options(), run, device="cpu")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"is shown the middle 32 px .* --image-size PX"):
        comparison.evaluate(contestants)
