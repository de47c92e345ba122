"""Queries by the student, database by the teacher: the map between them, its origin, and refusals."""

import re
from pathlib import Path

import numpy as np
import pytest
from made_benchmark_runs import SIDE_PX, app, call, make_run, network_that_sees, teacher_of
from made_benchmarks import make_revisited, write_view
from PIL import Image
from typer.testing import CliRunner

from shared.checkpoints import load_network, save_network, weights_digest
from shared.digest import sha256_hex
from shared.extraction import describe
from shared.images import Preprocessing
from shared.vectors import encode_rows
from student_trainer.acquire.records import PlanFacts, PlannedImage, Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.revisited import open_benchmark
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asymmetric import Bridge, _if_few, bridge, held_back_cosine, learn_projection
from student_trainer.evaluate.describing import Describer
from student_trainer.evaluate.document import ASYMMETRIC, STUDENT, TEACHER, read_evaluation
from student_trainer.evaluate.ranking import rank
from student_trainer.evaluate.revisited import evaluate as scores_of
from student_trainer.run_folder import RunFolder

BOUGHT = 12


def buy(run: RunFolder, paths: list[Path], vectors: np.ndarray, stated: dict[str, object] | None) -> None:
    """A transfer set of these images and descriptors, and what their service stated of its teacher."""
    images = [PlannedImage(sha256_hex(p.read_bytes()), p, "JPEG", p.stat().st_size, 96, 72) for p in paths]
    TransferSet.create(run.transfer_set, PlanFacts("random", 0, "a folder"), chosen=images)
    with TransferSet.open(run.transfer_set) as bought:
        dim = vectors.shape[1]
        bought.set_teacher(
            Teacher("http://localhost", "k", "distinct", "cd" * 32, "ef" * 32, "t", dim, True, stated or {})
        )
        with bought.transaction():
            bought.connection.execute("INSERT INTO receipts VALUES (1, '{}')")
            for image, row in zip(images, vectors, strict=True):
                bought.connection.execute(
                    "INSERT INTO descriptors VALUES (?, ?, 1)", (image.digest, encode_rows(row))
                )


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    for number in range(BOUGHT):
        write_view(tmp_path / "bought" / f"{number:02}.jpg", 4, number, 0)
    return sorted((tmp_path / "bought").iterdir())


@pytest.fixture
def run(tmp_path: Path, paths: list[Path]) -> RunFolder:
    """A run folder that bought its teacher's descriptors of a dozen images."""
    run = make_run(tmp_path / "run", paths)
    teacher = load_network(teacher_of(run))
    buy(run, paths, describe(teacher, paths, SIDE_PX), {"weights": weights_digest(teacher)})
    return run


def looking(run: RunFolder, scales: tuple[float, ...] = (1.0,), side_px: int = SIDE_PX) -> Describer:
    return Describer(load_network(run.student), side_px, scales, cache=run.cache, apply_exif=False)


def teaching(run: RunFolder) -> Describer:
    return Describer(load_network(teacher_of(run)), SIDE_PX, apply_exif=False)


def crossing(run: RunFolder, student: Describer | None = None, dim: int = 64) -> Bridge:
    return bridge(run, student or looking(run), teaching(run), dim)


def test_the_map_is_the_ridge_solution_and_without_a_ridge_exact_where_it_can_be():
    random = np.random.default_rng(0)
    student, truth = random.standard_normal((50, 6)), random.standard_normal((9, 6))
    teacher = student @ truth.T
    np.testing.assert_allclose(learn_projection(student, teacher, ridge=0).projection, truth, atol=1e-10)
    noisy = teacher + random.standard_normal(teacher.shape)
    learned = learn_projection(student, noisy, ridge=0.3).projection
    # The gradient of the penalised error is zero at its least.
    weight = 0.3 * np.trace(student.T @ student) / 6
    gradient = (student @ learned.T - noisy).T @ student + weight * learned
    assert np.abs(gradient).max() < 1e-9


def test_descriptors_that_are_no_pairs_have_no_map():
    with pytest.raises(ValueError, match="3 student and 2 teacher descriptors are no pairs"):
        learn_projection(np.eye(3), np.eye(3)[:2])
    with pytest.raises(ValueError, match="0 student and 0 teacher"):
        learn_projection(np.empty((0, 3)), np.empty((0, 3)))


def test_the_map_is_learned_from_what_was_bought(run, paths):
    learned = crossing(run)
    assert learned.words.startswith(f"a linear map learned from {BOUGHT} bought descriptors, mean cosine ")
    assert "to 2 of them that were held back from a map of the others" in learned.words
    teacher = describe(load_network(teacher_of(run)), paths, SIDE_PX)
    student = describe(load_network(run.student), paths, SIDE_PX)
    crossed = learned.apply(student)
    assert crossed.shape == (BOUGHT, 64)
    expected = learn_projection(student, teacher)
    np.testing.assert_allclose(crossed, expected.apply(student), atol=1e-5)


def test_the_map_is_judged_on_images_that_it_was_not_learned_from():
    """Fewer images than dimensions: any targets are learned by heart, and say nothing of others."""
    random = np.random.default_rng(1)
    rows = random.standard_normal((40, 80)).astype(np.float32)
    targets = random.standard_normal((40, 60))
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    by_heart = learn_projection(rows, targets).apply(rows)
    assert (by_heart * targets).sum(axis=1).mean() > 0.95
    held_back, cosine = held_back_cosine(rows, targets)
    assert held_back == 8
    assert abs(cosine) < 0.2
    judges = np.array([4, 9, 14, 19, 24, 29, 34, 39])
    others = np.setdiff1d(np.arange(40), judges)
    crossed = rows[judges] @ learn_projection(rows[others], targets[others]).projection.T
    crossed /= np.linalg.norm(crossed, axis=1, keepdims=True)
    assert cosine == pytest.approx((crossed * targets[judges]).sum(axis=1).mean(), abs=1e-5)


def test_four_images_are_too_few_to_hold_one_back(run, paths):
    assert held_back_cosine(np.eye(4), np.eye(4)) == (0, None)
    run.transfer_set.unlink()
    buy(run, paths[:4], describe(load_network(teacher_of(run)), paths[:4], SIDE_PX), None)
    assert "too few to hold any back and judge it by" in crossing(run).words


def test_few_pairs_for_the_students_dimensions_are_warned_of(run):
    words = crossing(run).words
    assert "; 12 pairs are few for the student's 80 dimensions, so the asymmetric scores may be poor" in words
    assert _if_few(319, 80)
    assert not _if_few(320, 80)


@pytest.mark.parametrize("change", ["scales", "size", "student", "transfer set"])
def test_the_map_does_not_depend_on_what_was_evaluated_before(run, paths, change):
    before = crossing(run).projection.projection
    student = looking(run)
    if change == "scales":
        student = looking(run, scales=(1.0, 0.5))
    elif change == "size":
        student = looking(run, side_px=SIDE_PX // 2)
    elif change == "student":
        save_network(load_network(run.initial_student), run.student)
        student = looking(run)
    else:
        run.transfer_set.unlink()
        teacher = load_network(teacher_of(run))
        paths = paths[:8]
        buy(run, paths, describe(teacher, paths, SIDE_PX), {"weights": weights_digest(teacher)})
    after = crossing(run, student).projection.projection
    rows = describe(student.network, paths, student.longest_side_px, student.scales)
    teacher_rows = describe(load_network(teacher_of(run)), paths, SIDE_PX)
    np.testing.assert_allclose(after, learn_projection(rows, teacher_rows).projection, atol=1e-3)
    assert np.abs(after - before).max() > 1e-2


def test_the_student_sees_bought_photographs_as_the_teacher_saw_them(run, paths):
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in paths[::2]:
        with Image.open(path) as image:
            image.save(path, exif=exif, quality=95)
    teacher, student = load_network(teacher_of(run)), load_network(run.student)
    for upright in (True, False):
        seen = Preprocessing(SIDE_PX, apply_exif=upright)
        vectors = describe(teacher, paths, SIDE_PX, preprocessing=seen)
        run.transfer_set.unlink()
        description = {"weights": weights_digest(teacher), "preprocessing": seen.description()}
        buy(run, paths, vectors, description)
        rows = describe(student, paths, SIDE_PX, preprocessing=seen)
        learned = crossing(run).projection.projection
        np.testing.assert_allclose(learned, learn_projection(rows, vectors).projection, atol=1e-3)


def test_what_another_teacher_of_the_same_dimension_sold_is_refused(run, paths):
    other = network_that_sees(paths, 5, "resnet18-64")
    run.transfer_set.unlink()
    buy(run, paths, describe(other, paths, SIDE_PX), {"weights": weights_digest(other)})
    with pytest.raises(InvalidInput, match=r"was bought from a teacher of weights .*, that of --teacher has"):
        crossing(run)


def test_where_the_weights_were_not_stated_the_evaluation_says_so(run, paths):
    run.transfer_set.unlink()
    buy(run, paths, describe(load_network(teacher_of(run)), paths, SIDE_PX), None)
    assert "did not state its weights, so they may be another teacher's" in crossing(run).words


def test_descriptors_of_another_dimension_are_refused(run):
    with pytest.raises(InvalidInput, match=r"12 descriptors of 64 dimensions, the teacher's have 2,048"):
        crossing(run, dim=2048)


def test_a_plan_that_bought_nothing_is_refused(run, paths):
    run.transfer_set.unlink()
    image = PlannedImage("ab" * 32, paths[0], "JPEG", 10, 20, 30)
    TransferSet.create(run.transfer_set, PlanFacts("random", 0, "a folder"), chosen=[image])
    with pytest.raises(InvalidInput, match="holds 0 descriptors"):
        crossing(run)


def test_a_student_in_the_teachers_space_is_not_moved():
    rows = np.eye(3, dtype=np.float32)
    assert Bridge("", None).apply(rows) is rows


def test_the_command_asks_the_teachers_database_with_the_students_queries(run, tmp_path):
    folder = make_revisited(tmp_path / "data", "roxford5k", sights=3)
    text = call("--run", run.root, "--dataset", folder, "--teacher", teacher_of(run), "--asymmetric")
    models = read_evaluation(run.evaluation).models
    assert list(models)[-1] == ASYMMETRIC
    assert f"{ASYMMETRIC}: by a linear map learned from 12 bought descriptors" in text
    fit = models[ASYMMETRIC].bridge_fit
    assert (fit.pairs, fit.held_back) == (12, 2)
    assert -1 <= fit.held_back_cosine <= 1
    assert models[STUDENT].bridge_fit is None
    assert models[ASYMMETRIC].dim == models[TEACHER].dim == 64
    assert models[ASYMMETRIC].parameters == models[STUDENT].parameters
    benchmark, plain = open_benchmark(folder), Preprocessing(SIDE_PX, apply_exif=False)
    boxes = [truth.box for truth in benchmark.ground_truth]
    queries = describe(
        load_network(run.student), benchmark.query_paths, SIDE_PX, boxes=boxes, preprocessing=plain
    )
    database = describe(load_network(teacher_of(run)), benchmark.image_paths, SIDE_PX, preprocessing=plain)
    crossed = crossing(run).apply(queries)
    expected = scores_of(rank(crossed, database), benchmark.ground_truth)
    for setup in "EMH":
        assert models[ASYMMETRIC].setups[setup].map_trapezoid == pytest.approx(
            expected[setup]["map_trapezoid"]
        )


def test_progress_counts_the_bought_images_that_the_map_is_learned_from(run, tmp_path):
    folder = make_revisited(tmp_path / "data", "roxford5k", sights=3)
    arguments = ("--run", run.root, "--dataset", folder, "--teacher", teacher_of(run), "--asymmetric")
    shown = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False).stderr
    done, total = re.search(r"Describing: (\d+)/(\d+) images", shown).groups()
    assert done == total
