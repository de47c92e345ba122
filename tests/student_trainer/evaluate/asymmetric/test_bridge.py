"""Queries by the student, database by the teacher: the map between them, its origin, and refusals."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from made_asymmetric_runs import buy
from made_benchmark_runs import SIDE_PX, app, call, make_run, network_that_sees, teacher_of
from made_benchmarks import make_revisited, write_view
from PIL import Image
from typer.testing import CliRunner

from shared.checkpoints import load_network, save_network, weights_digest
from shared.extraction import describe
from shared.images import Preprocessing
from shared.learned_map import held_back_cosine, learn_projection
from student_trainer.acquire.records import PlanFacts, PlannedImage
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.revisited import open_benchmark
from student_trainer.distil.heads import Head, project, save_head
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asymmetric.bridge import Bridge, Crossing, _if_few
from student_trainer.evaluate.asymmetric.fitness import Upbringing, judge
from student_trainer.evaluate.asymmetric.mark import MAPPED, OWN, PROJECTION
from student_trainer.evaluate.describing import Describer
from student_trainer.evaluate.document import (
    ASYMMETRIC,
    ASYMMETRIC_MAPPED,
    STUDENT,
    TEACHER,
    read_evaluation,
)
from student_trainer.evaluate.ranking import rank
from student_trainer.evaluate.revisited import evaluate as scores_of
from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder

BOUGHT = 12


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


def bridges(
    run: RunFolder,
    student: Describer | None = None,
    dim: int = 64,
    upbringing: Upbringing = Upbringing("rank", in_teachers_space=False),
) -> dict[str, Bridge]:
    student = student or looking(run)
    mark = judge(student.network, upbringing)
    return Crossing(run, student, mark, upbringing, teaching(run), dim).bridges()


def crossing(run: RunFolder, student: Describer | None = None, dim: int = 64) -> Bridge:
    """The only way of a student that learned to rank."""
    [(name, found)] = bridges(run, student, dim).items()
    assert (name, found.way) == (ASYMMETRIC, MAPPED)
    return found


def test_the_map_is_learned_from_what_was_bought(run, paths):
    learned = crossing(run)
    assert learned.words.startswith(
        f"a map learned afterwards, linear, from {BOUGHT} bought descriptors, mean cosine "
    )
    assert "to 2 of them that were held back from a map of the others" in learned.words
    teacher = describe(load_network(teacher_of(run)), paths, SIDE_PX)
    student = describe(load_network(run.student), paths, SIDE_PX)
    crossed = learned.apply(student)
    assert crossed.shape == (BOUGHT, 64)
    expected = learn_projection(student, teacher)
    np.testing.assert_allclose(crossed, expected.apply(student), atol=1e-5)


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


def test_a_photograph_in_place_of_a_bought_one_is_refused(run, paths):
    write_view(paths[3], 4, 99, 0)
    with pytest.raises(InvalidInput, match=rf"{paths[3].name} has changed: .* its descriptor was bought for"):
        crossing(run)


def test_a_plan_that_bought_nothing_is_refused(run, paths):
    run.transfer_set.unlink()
    image = PlannedImage("ab" * 32, paths[0], "JPEG", 10, 20, 30)
    TransferSet.create(run.transfer_set, PlanFacts("random", 0, "a folder"), chosen=[image])
    with pytest.raises(InvalidInput, match="holds 0 descriptors"):
        crossing(run)


class TestAsItWasTrained:
    """A student of an objective that compares it with the teacher itself."""

    def test_a_student_as_wide_as_its_teacher_asks_with_its_own_descriptors(
        self, run: RunFolder, paths: list[Path]
    ) -> None:
        save_network(network_that_sees(paths, 5, "resnet18-64"), run.student)
        found = bridges(run, upbringing=Upbringing("regression", in_teachers_space=True, teacher_dim=64))
        assert [(name, one.way) for name, one in found.items()] == [
            (ASYMMETRIC, OWN),
            (ASYMMETRIC_MAPPED, MAPPED),
        ]
        rows = np.eye(3, 64, dtype=np.float32)
        assert found[ASYMMETRIC].apply(rows) is rows
        assert (
            found[ASYMMETRIC].words == "own descriptors, since regression trained it in the teacher's space"
        )

    def test_a_narrower_one_asks_through_the_projection_that_was_trained_with_it(
        self, run: RunFolder
    ) -> None:
        upbringing = with_head(run, Head("projection", 80, 64, seed=3))
        found = bridges(run, upbringing=upbringing)
        assert [one.way for one in found.values()] == [PROJECTION, MAPPED]
        assert found[ASYMMETRIC].words == "its projection, 80 to 64 dimensions, trained with it"
        rows = np.random.default_rng(0).standard_normal((5, 80)).astype(np.float32)
        expected = project(torch.from_numpy(rows), Head("projection", 80, 64, seed=3)).detach().numpy()
        np.testing.assert_allclose(found[ASYMMETRIC].apply(rows), expected, atol=1e-6)

    def test_where_nothing_was_bought_there_is_no_map_beside_it(
        self, run: RunFolder, paths: list[Path]
    ) -> None:
        upbringing = with_head(run, Head("projection", 80, 64))
        run.transfer_set.unlink()
        assert [one.way for one in bridges(run, upbringing=upbringing).values()] == [PROJECTION]
        image = PlannedImage("ab" * 32, paths[0], "JPEG", 10, 20, 30)
        TransferSet.create(run.transfer_set, PlanFacts("random", 0, "a folder"), chosen=[image])
        assert [one.way for one in bridges(run, upbringing=upbringing).values()] == [PROJECTION]

    def test_a_teacher_of_other_dimensions_is_refused(self, run: RunFolder) -> None:
        run.transfer_set.unlink()
        upbringing = with_head(run, Head("projection", 80, 64))
        with pytest.raises(
            InvalidInput,
            match=r"trained in a space of 64 dimensions, and this teacher's descriptors have 2,048",
        ):
            bridges(run, dim=2048, upbringing=upbringing)

    def test_the_command_measures_both_ways_and_names_them(self, run: RunFolder, tmp_path: Path) -> None:
        with_head(run, Head("projection", 80, 64))
        Recipe.model_validate(
            {"images": {"longest_side_px": SIDE_PX}, "objective": {"name": "asym-triplet"}}
        ).write(run.recipe)
        folder = make_revisited(tmp_path / "data", "roxford5k", sights=3)
        text = call("--run", run.root, "--dataset", folder, "--teacher", teacher_of(run), "--asymmetric")
        models = read_evaluation(run.evaluation).models
        assert list(models)[-2:] == [ASYMMETRIC, ASYMMETRIC_MAPPED]
        assert [models[name].bridge_way for name in (ASYMMETRIC, ASYMMETRIC_MAPPED)] == [PROJECTION, MAPPED]
        assert models[STUDENT].asymmetric.sentence == (
            "fit for asymmetric search by its projection: asym-triplet trained it with a projection to the "
            "teacher's 64 dimensions"
        )
        assert f"{ASYMMETRIC}: by its projection, 80 to 64 dimensions, trained with it." in text
        assert f"{ASYMMETRIC_MAPPED}: by a map learned afterwards, linear, from 12 bought descriptors" in text
        assert (
            "student before is unfit for asymmetric search: it has not learned from the teacher yet" in text
        )


def with_head(run: RunFolder, head: Head) -> Upbringing:
    """A projection beside the run's student, as training saves it."""
    digest = weights_digest(load_network(run.student))
    save_head(head, run.head, objective="asym-triplet", student_digest=digest)
    return Upbringing("asym-triplet", in_teachers_space=True, head=run.head, teacher_dim=head.out_dim)


def test_the_command_asks_the_teachers_database_with_the_students_queries(run, tmp_path):
    folder = make_revisited(tmp_path / "data", "roxford5k", sights=3)
    text = call("--run", run.root, "--dataset", folder, "--teacher", teacher_of(run), "--asymmetric")
    models = read_evaluation(run.evaluation).models
    assert list(models)[-1] == ASYMMETRIC
    assert f"{ASYMMETRIC}: by a map learned afterwards, linear, from 12 bought descriptors" in text
    assert "student is unfit for asymmetric search: rank-mixup leaves it in coordinates of its own." in text
    assert (models[STUDENT].asymmetric.fit, models[ASYMMETRIC].bridge_way) == (False, MAPPED)
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
