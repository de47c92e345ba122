"""On labelled images the teacher describes the database, and the student asks."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made_asymmetric_runs import buy
from made_benchmark_runs import call, network_that_sees

from shared.checkpoints import load_network, save_network, weights_digest
from shared.extraction import describe
from student_trainer.datasets.manifest import read_manifest
from student_trainer.distil.heads import Head, project, save_head
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.document import ASYMMETRIC, ASYMMETRIC_MAPPED, STUDENT, TEACHER, read_evaluation
from student_trainer.evaluate.gallery import Gallery, gallery_of
from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder

SIDE_PX = 48


@pytest.fixture
def gallery(manifest: Path) -> Gallery:
    """15 images of three labels; view 0 of each is a query."""
    return gallery_of(read_manifest(manifest))


@pytest.fixture
def teacher(run: RunFolder, gallery: Gallery) -> Path:
    path = run.root / "teacher.safetensors"
    save_network(network_that_sees(gallery.paths, 9, "resnet18-64"), path)
    return path


@pytest.fixture
def trained(run: RunFolder, gallery: Gallery) -> Callable[..., RunFolder]:
    """Leaves a student of an objective in the run folder, with or without a projection."""

    def leave(objective: str, *, arch: str = "mobilenet_v2-320x0.25", head: Head | None = None) -> RunFolder:
        student = network_that_sees(gallery.paths, 4, arch)
        save_network(student, run.student)
        if head is not None:
            save_head(head, run.head, objective=objective, student_digest=weights_digest(student))
        sizes = {"longest_side_px": SIDE_PX}
        Recipe.model_validate({"images": sizes, "objective": {"name": objective}}).write(run.recipe)
        return run

    return leave


def by_hand(queries: np.ndarray, database: np.ndarray, gallery: Gallery) -> float:
    """Mean over the queries of the step average precision of a plain walk down the ranking."""
    scores = []
    for query in gallery.queries:
        order = sorted(gallery.database, key=lambda place: -float(queries[query] @ database[place]))
        found, precisions = 0, []
        for rank, place in enumerate([place for place in order if place != query], start=1):
            if gallery.labels[place] == gallery.labels[query]:
                found += 1
                precisions.append(found / rank)
        scores.append(np.mean(precisions))
    return float(np.mean(scores))


def test_a_fit_student_asks_as_it_was_trained_and_by_a_map(
    trained: Callable[..., RunFolder], teacher: Path, gallery: Gallery, manifest: Path
) -> None:
    run = trained("asym-contrastive+", head=Head("projection", 80, 64, seed=1))
    paths = list(gallery.paths)
    network = load_network(teacher)
    buy(run, paths, describe(network, paths, SIDE_PX), {"weights": weights_digest(network)})
    printed = json.loads(
        call("--run", run.root, "--manifest", manifest, "--teacher", teacher, "--asymmetric", "--json")
    )
    models = read_evaluation(run.evaluation).models
    assert list(models) == [TEACHER, "student before", STUDENT, ASYMMETRIC, ASYMMETRIC_MAPPED]
    assert models[TEACHER].asymmetric is None
    own, mapped = models[ASYMMETRIC], models[ASYMMETRIC_MAPPED]
    assert (own.bridge_way, mapped.bridge_way) == ("its projection", "a map learned afterwards")
    assert own.dim == mapped.dim == 64 and mapped.bridge_fit is not None and own.bridge_fit is None
    rows = torch.from_numpy(describe(load_network(run.student), paths, SIDE_PX))
    queries = project(rows, Head("projection", 80, 64, seed=1)).detach().numpy()
    expected = by_hand(queries, describe(network, paths, SIDE_PX), gallery)
    assert own.map_step == pytest.approx(expected, abs=1e-6)
    assert own.gain_over_before is not None
    assert printed["models"][STUDENT]["asymmetric"] == {
        "fit": True,
        "way": "its projection",
        "why": "asym-contrastive+ trained it with a projection to the teacher's 64 dimensions",
    }


def test_every_student_is_marked_without_asking_across(
    trained: Callable[..., RunFolder], other_run: RunFolder, manifest: Path
) -> None:
    run = trained("regression")
    text = call("--run", run.root, "--manifest", manifest, "--also", f"ranked={other_run.root}")
    models = read_evaluation(run.evaluation).models
    assert [(name, model.asymmetric.fit) for name, model in models.items() if model.asymmetric] == [
        ("student before", False),
        (STUDENT, True),
        ("ranked", False),
    ]
    assert "asymmetric search" in text.splitlines()[8] and ASYMMETRIC not in models
    assert "for asymmetric search" not in text, "nobody asks of a teacher that is not there"


def test_beside_a_teacher_the_notes_say_why_and_one_of_other_dimensions_makes_unfit(
    trained: Callable[..., RunFolder], other_run: RunFolder, teacher: Path, manifest: Path
) -> None:
    run = trained("regression")
    asked = ("--run", run.root, "--manifest", manifest, "--also", f"ranked={other_run.root}", "--teacher")
    text = call(*asked, run.student)
    assert "student is fit for asymmetric search by own descriptors: regression trained it" in text
    assert "ranked is unfit for asymmetric search: rank leaves it in coordinates of its own." in text
    text = call(*asked, teacher)
    why = "its queries have 80 dimensions and this teacher's descriptors 64: it learned from another teacher"
    assert f"student is unfit for asymmetric search: {why}." in text


def test_a_student_of_another_runs_purchase_finds_it_where_it_is_named(
    trained: Callable[..., RunFolder], teacher: Path, gallery: Gallery, manifest: Path, tmp_path: Path
) -> None:
    run, buyer = trained("rank"), RunFolder.create(tmp_path / "buyer")
    network = load_network(teacher)
    buy(buyer, list(gallery.paths), describe(network, gallery.paths, SIDE_PX), None)
    asked = ("--run", run.root, "--manifest", manifest, "--teacher", teacher, "--asymmetric")
    with pytest.raises(InvalidInput, match=r"name the run that bought .* with --transfer-set RUN"):
        call(*asked)
    for place in (buyer.root, buyer.transfer_set):
        call(*asked, "--transfer-set", place)
        found = read_evaluation(run.evaluation).models[ASYMMETRIC]
        assert found.bridge_way == "a map learned afterwards" and found.bridge_fit is not None
    assert not run.transfer_set.exists()
    with pytest.raises(
        InvalidInput, match=r"--transfer-set: there is no transfer set .*transfer_set\.sqlite"
    ):
        call(*asked, "--transfer-set", run.root)


def test_without_a_teacher_it_is_refused(trained: Callable[..., RunFolder], manifest: Path) -> None:
    run = trained("regression")
    with pytest.raises(InvalidInput, match="--asymmetric asks the teacher's database: give --teacher"):
        call("--run", run.root, "--manifest", manifest, "--asymmetric")


def test_without_a_way_across_it_is_refused(
    trained: Callable[..., RunFolder], teacher: Path, manifest: Path
) -> None:
    run = trained("rank")
    with pytest.raises(InvalidInput, match="student's have 80 dimensions and the teacher's 64"):
        call("--run", run.root, "--manifest", manifest, "--teacher", teacher, "--asymmetric")
