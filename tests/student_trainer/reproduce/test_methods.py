"""Methods side by side: search among students, in the teacher's database, and what needs what."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Run

from shared.checkpoints import load_network, save_network, weights_digest
from shared.extraction import describe
from shared.network import NetworkSpec, build_network
from student_trainer.datasets.manifest import labelled_entries
from student_trainer.distil import objectives
from student_trainer.distil.heads import Head, save_head
from student_trainer.distil.objectives.hashed import HashObjective
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.gallery import gallery_of
from student_trainer.recipe import changed, load
from student_trainer.reproduce.definition import read_table
from student_trainer.reproduce.methods import Methods, queries_as_trained
from student_trainer.trials.loss_cost import LossCost, LossShape
from student_trainer.trials.yardsticks import Labelled

METHODS = """
title = "Two methods"
measures = "methods"
facts = ["step"]

[[row]]
id = "teacher"
network = "teacher"

[[row]]
id = "regression"
set = ["objective.name=regression"]

[[row]]
id = "ap"
learns_from = "labels"
set = ["objective.name=ap"]

[[row]]
id = "asym-triplet"
learns_from = "teacher and labels"
set = ["objective.name=asym-triplet", "objective.negatives=1", "objective.anchors_per_epoch=8"]

[[claim]]
says = "Regression is better in asymmetric search"
better = "regression"
than = "asym-triplet"
on = "asymmetric mAP"
"""


@pytest.fixture
def labelled(inputs: Any) -> Labelled:
    gallery = gallery_of(labelled_entries(inputs.manifest, "test"))
    return Labelled(gallery, "labelled.csv", 24, "cpu")


def test_the_shipped_table_has_a_row_for_every_objective_or_says_why_it_has_none() -> None:
    """As planning checks it when a run has labels; here without one."""
    table = read_table("methods")
    names = {row.id: row for row in table.rows if row.network == "trained"}
    for name, row in names.items():
        objective = objectives.get(name)()
        assert (objective.needs_labels, objective.needs_teacher) == {
            "teacher": (False, True),
            "labels": (True, False),
            "teacher and labels": (True, True),
        }[row.learns_from]
    without = {
        name
        for name, objective in objectives.OBJECTIVES.items()
        if objective.facts.needs_white_box or issubclass(objective, HashObjective)
    }
    assert set(names) == set(objectives.OBJECTIVES) - without
    _, left_out = table.text.split("Left out are ")
    assert without <= set(re.findall(r"\w+", left_out))


def test_a_run_measures_them_and_says_what_each_learned_from(
    inputs: Any, reproduce: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[LossShape] = []

    def cost(shape: LossShape) -> LossCost:
        asked.append(shape)
        return LossCost(1.5, None)

    monkeypatch.setattr("student_trainer.reproduce.methods.loss_cost", cost)
    (tmp_path / "two.toml").write_text(METHODS)
    out = tmp_path / "out"
    options = [*inputs.options(out), "--train-split", "train", "--teacher", inputs.teacher, "--seeds", 2]
    done = reproduce(tmp_path / "two.toml", *options, "--set", "training.batch_size=20")
    assert done.code == 0, done.err
    table = json.loads((out / "results.json").read_text())["tables"]["two"]
    lines = {line["row"]: line for line in table["lines"]}
    measured = {name: line["cells"][0]["measures"] for name, line in lines.items()}
    assert set(measured["teacher"]) == {"mAP"}
    for name in ("regression", "asym-triplet"):
        assert set(measured[name]) == {"mAP", "asymmetric", "asymmetric, mapped", "loss, ms"}
    assert {shape.objective for shape in asked} == {"regression", "ap", "asym-triplet"}
    assert len(asked) == 3  # once for all seeds
    [claim] = table["claims"]
    assert [finding["column"] for finding in claim["findings"]] == ["asymmetric mAP"]
    page = (out / "reproduce.md").read_text()
    assert "| teacher and labels |" in page and "learns from" in page


def test_a_head_brings_a_student_into_the_teachers_space(tmp_path: Path) -> None:
    student = build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=0)
    checkpoint = tmp_path / "student.safetensors"
    save_network(student, checkpoint)
    rows = np.eye(4, student.dim, dtype=np.float32)
    assert queries_as_trained(checkpoint, rows, teacher_dim=7) is None
    head, digest = Head("projection", student.dim, 7), weights_digest(student)
    save_head(head, tmp_path / "head.safetensors", objective="regression", student_digest=digest)
    crossed = queries_as_trained(checkpoint, rows, teacher_dim=7)
    expected = torch.nn.functional.normalize(head.linear.weight[:, :4].T.detach()).numpy()
    assert crossed is not None and np.allclose(crossed, expected, atol=1e-4)
    hash_layer = Head("hash", student.dim, 7)
    save_head(hash_layer, tmp_path / "head.safetensors", objective="dch", student_digest=digest)
    assert queries_as_trained(checkpoint, rows, teacher_dim=7) is None


def test_the_head_of_another_student_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "student.safetensors"
    first, second = (build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=seed) for seed in (0, 1))
    save_network(first, checkpoint)
    digest = weights_digest(second)
    head = Head("projection", first.dim, 7)
    save_head(head, tmp_path / "head.safetensors", objective="regression", student_digest=digest)
    with pytest.raises(InvalidInput, match="the projection beside it was trained with another student"):
        queries_as_trained(checkpoint, np.eye(4, first.dim, dtype=np.float32), teacher_dim=7)


def test_the_teachers_own_student_finds_as_much_asymmetrically_as_it_does_alone(
    inputs: Any, labelled: Labelled, tmp_path: Path
) -> None:
    """A copy of the teacher has its descriptors."""
    copy = tmp_path / "student.safetensors"
    save_network(load_network(inputs.teacher), copy)
    found = Methods(labelled, labelled, inputs.teacher).measure(copy)
    assert found["asymmetric"] == pytest.approx(found["mAP"])
    rows = describe(load_network(copy), labelled.gallery.paths, 24, device="cpu")
    assert found["mAP"] == pytest.approx(labelled.scores(rows)["mAP"])


def test_another_loss_or_batch_is_another_measurement(inputs: Any, labelled: Labelled) -> None:
    base = load(inputs.recipe)
    recipes = [base, changed(base, ["objective.tau=0.6"]), changed(base, ["training.batch_size=7"])]
    digests = {Methods(labelled, labelled).of(recipe).digest() for recipe in recipes}
    assert len({Methods(labelled, labelled).digest(), *digests}) == 4


def test_another_teacher_than_the_one_that_was_asked_is_refused(
    inputs: Any, reproduce: Run, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    save_network(build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=9), other)
    done = reproduce("methods", *inputs.options(tmp_path / "out"), "--teacher", other)
    assert done.code == 2
    assert "has weights" in done.err and "32 dimensions" in done.err
    assert "bought from a teacher" in done.err and "with 8: give the checkpoint" in done.err


def test_without_the_teachers_file_it_says_why_columns_are_empty(
    inputs: Any, reproduce: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = reproduce("methods", *inputs.options(out), "--seeds", 1, "--only", "rank", "--only", "before")
    assert done.code == 0, done.err
    page = (out / "reproduce.md").read_text()
    assert "no asymmetric search without the teacher's checkpoint (--teacher FILE)" in page
    assert "contrastive, triplet, multi-similarity" in page and "are left out: no labels" in page
