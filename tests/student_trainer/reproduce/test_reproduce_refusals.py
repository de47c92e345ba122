"""What ``student-trainer reproduce`` refuses, before anything is trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Run

Trainings = list[tuple[str, int]]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("tabel2",), "There is no table 'tabel2'"),
        (("table6", "--transfer-set", "nowhere"), "There is no transfer set nowhere"),
        (("table6", "--only", "theirs"), "--only theirs: there is no such row; there are all-grad, ours."),
        (("table6", "--teacher", "nowhere"), "There is no teacher checkpoint nowhere"),
        (
            ("table6", "--teacher", "retrievalSfM120k-resnet101-gem-b80fb85.pth"),
            "download http://cmp.felk.cvut.cz/cnnimageretrieval/data/networks/retrieval-SfM-120k/retrieval",
        ),
        (("table6", "--train-split", "test"), "--split and --train-split are both 'test'"),
        (("table6", "--recipe-for", "ours"), "--recipe-for 'ours' is not of the form ROW=RECIPE"),
        (
            ("table6", "--recipe-for", "our=quick-cpu"),
            "--recipe-for our=quick-cpu: there is no such row; there are all-grad, ours. Did you mean 'ours'",
        ),
        (("table6", "--only", "all-grat"), "there are all-grad, ours. Did you mean 'all-grad'?"),
        (("table6", "--dataset", "roxford5k"), "give --manifest or --dataset, not both"),
        (("table6", "--sizes", "10,20"), "the table has 1 numbers of images (2,000), so give as many"),
        (("table6", "--student", "resnet1"), "Row 'all-grad' of table6: Unknown architecture 'resnet1'"),
        (("table6", "--student", "resnet34=none.pth"), "there are no weights"),
        (("table6", "--train-split", "train", "--sfm120k", "x"), "--train-split names a split of a manifest"),
        (("table6", "--set", "objective.tua=1"), "objective.tua is unknown"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    reproduce: Run, inputs: Any, trainings: Trainings, words: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    table, *more = words
    ended = reproduce(table, *inputs.options(tmp_path), *more)
    assert (ended.code, complaint in ended.err) == (2, True), ended.err
    assert trainings == []
    assert not (tmp_path / "cells").exists()


def test_a_row_that_learns_from_what_its_objective_does_not_is_refused(
    reproduce: Run, inputs: Any, own_table: Callable[[str], Path], tmp_path: Path
) -> None:
    path = own_table('title = "Own"\n[[row]]\nid = "a"\nset = ["objective.name=ap"]')
    ended = reproduce(path, *inputs.options(tmp_path / "out"))
    assert ended.code == 2
    assert "'ap' learns from labels, and the row from teacher: set its learns_from" in ended.err


def test_there_must_be_something_to_learn_from_and_to_measure_on(
    reproduce: Run, inputs: Any, tmp_path: Path
) -> None:
    bare = ("--out", tmp_path, "--recipe", inputs.recipe)
    assert "There is nothing to measure on" in reproduce("table6", *bare).err
    measured = (*bare, "--manifest", inputs.manifest, "--split", "test")
    assert "it learns from bought images: --transfer-set" in reproduce("table6", *measured).err
    assert "choose from roxford5k" in reproduce("table6", *bare, "--dataset", "oxford").err
    assert "name it with --root DIR" in reproduce("table6", *bare, "--dataset", "roxford5k").err
    assert (
        "in " + str(tmp_path) in reproduce("table6", *bare, "--dataset", "roxford5k", "--root", tmp_path).err
    )


def test_another_file_in_place_of_the_results_is_not_overwritten(
    reproduce: Run, inputs: Any, trainings: Trainings, tmp_path: Path
) -> None:
    (tmp_path / "results.json").write_text(json.dumps({"format": "other"}))
    ended = reproduce("table6", *inputs.options(tmp_path))
    assert ended.code == 2
    assert trainings == []
    assert "is not what reproduce writes" in ended.err
    assert "other" in (tmp_path / "results.json").read_text()


def test_two_runs_in_one_folder_are_refused(reproduce: Run, inputs: Any, tmp_path: Path) -> None:
    from student_trainer.lock import exclusive
    from student_trainer.run_folder import RunFolder

    with exclusive(RunFolder(tmp_path)):
        assert "is at work on" in reproduce("table1", *inputs.options(tmp_path)).err
