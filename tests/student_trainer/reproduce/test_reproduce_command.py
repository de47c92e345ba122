"""``student-trainer reproduce`` on tiny images: what it trains, leaves and does not do twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Run

from student_trainer.acquire.selection.choice import METHODS
from student_trainer.reproduce.results import Results, read_results
from student_trainer.trials import making

Trainings = list[tuple[str, int]]


def results(out: Path) -> Results:
    return read_results(out / "results.json")


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The process dies at the n-th training."""

    def at(number: int) -> None:
        noted, begun = making.train, []

        def dying(recipe: Any, data: Any, folder: Any) -> Any:
            begun.append(folder)
            if len(begun) == number:
                raise Killed
            return noted(recipe, data, folder)

        monkeypatch.setattr(making, "train", dying)

    return at


class Killed(BaseException):
    """The process dies here."""


def test_a_table_is_trained_measured_and_written_and_no_cell_runs_twice(
    reproduce: Run, inputs: Any, trainings: Trainings, tmp_path: Path
) -> None:
    options = (*inputs.options(tmp_path), "--seeds", 2, "--teacher", inputs.teacher)
    ended = reproduce("table6", *options)
    assert ended.code == 0, ended.err
    # Seed by seed; of the paper's 2,000 images all that were bought.
    assert trainings == [("rank-mixup", 36)] * 4
    table = results(tmp_path).tables["table6"]
    assert [(line.row, line.images, len(line.cells)) for line in table.lines] == [
        ("all-grad", 36, 2), ("ours", 36, 2),
    ]  # fmt: skip
    [claim] = table.claims
    [finding] = claim.findings
    all_grad, ours = ({c.seed: c.measures["mAP"] for c in line.cells} for line in table.lines)
    assert finding.gap is not None
    assert finding.gap.mean == pytest.approx(sum(ours[seed] - all_grad[seed] for seed in (0, 1)) / 2)
    cell = table.lines[0].cells[0]
    assert cell.recipe is not None and cell.recipe["objective"]["grad_through_mixed"] is True
    assert cell.facts["tau"] == 0.7 and 0 <= cell.facts["alone"] <= 1
    assert cell.seconds > 0 and "cores of" in cell.hardware and set(cell.versions) >= {"torch", "ration"}
    assert "Gradient through mixed descriptors (Table 6 of the paper)" in ended.out
    assert (tmp_path / "reproduce.html").is_file() and (tmp_path / "reproduce.md").is_file()
    # The records stay; weights and pixels are gone.
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("*.u8"))
    assert len(list(tmp_path.glob("cells/*/made.json"))) == 4

    trainings.clear()
    assert reproduce("table6", *options).code == 0
    assert trainings == []
    assert reproduce("table2", *options, "--only", "ours", "--only", "teacher", "--only", "before").code == 0
    assert trainings == []  # "ours" on all bought images is the same cell in both
    tables = results(tmp_path).tables
    assert list(tables) == ["table6", "table2"]
    measured = {line.row: len(line.cells) for line in tables["table2"].lines}
    # Random weights: a start for each seed. What was not asked for is shown as far as it is done.
    assert (measured["teacher"], measured["before"], measured["ours"], measured["no-aug"]) == (1, 2, 2, 0)


def test_a_run_that_is_killed_continues_with_the_cell_it_was_at(
    reproduce: Run, inputs: Any, trainings: Trainings, kill_at: Callable[[int], None], tmp_path: Path
) -> None:
    options = (*inputs.options(tmp_path), "--seeds", 1)
    whole = tmp_path / "whole"
    assert reproduce("table6", *inputs.options(whole), "--seeds", 1).code == 0
    trainings.clear()
    kill_at(2)
    with pytest.raises(Killed):
        reproduce("table6", *options)
    assert len(trainings) == 1
    listed = reproduce("table6", *options, "--list")
    assert [line.split()[0] for line in listed.out.splitlines()[:2]] == ["done", "begun"]
    assert reproduce("table6", *options).code == 0
    assert len(trainings) == 2
    found, expected = (results(out).tables["table6"].lines for out in (tmp_path, whole))
    assert [[c.measures for c in line.cells] for line in found] == [
        [c.measures for c in line.cells] for line in expected
    ]


def test_a_cell_that_fails_is_named_and_loses_no_other(
    reproduce: Run, inputs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train, broken = making.train, True

    def failing(recipe: Any, data: Any, folder: Any) -> Any:
        if broken and recipe.objective.settings.get("grad_through_mixed"):
            raise MemoryError("no room for it")
        return train(recipe, data, folder)

    monkeypatch.setattr(making, "train", failing)
    options = (*inputs.options(tmp_path), "--seeds", 1)
    ended = reproduce("table6", *options)
    assert ended.code == 8
    assert "1 of 2 cells failed; the others are done." in ended.err
    assert "table6: all-grad, seed 0 (n000036-seed0-" in ended.err
    assert "MemoryError: no room for it" in ended.err
    table = results(tmp_path).tables["table6"]
    assert [len(line.cells) for line in table.lines] == [0, 1]
    [reason] = table.failures.values()
    assert reason == "MemoryError: no room for it"
    assert "no room for it" in (tmp_path / "reproduce.html").read_text()
    assert "failed" in reproduce("table6", *options, "--list").out
    [told] = tmp_path.glob("cells/*/failure.txt")
    assert "Traceback" in told.read_text()
    broken = False
    assert reproduce("table6", *options).code == 0
    assert [len(line.cells) for line in results(tmp_path).tables["table6"].lines] == [1, 1]
    assert results(tmp_path).tables["table6"].failures == {}
    assert not told.exists()


def test_an_interrupted_run_writes_the_page_of_what_is_done(
    reproduce: Run, inputs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train = making.train

    def interrupted(recipe: Any, data: Any, folder: Any) -> Any:
        if not recipe.objective.settings["grad_through_mixed"]:
            raise KeyboardInterrupt
        return train(recipe, data, folder)

    monkeypatch.setattr(making, "train", interrupted)
    ended = reproduce("table6", *inputs.options(tmp_path), "--seeds", 1)
    assert ended.code == 130
    assert "the same command continues" in ended.err
    assert [len(line.cells) for line in results(tmp_path).tables["table6"].lines] == [1, 0]


def test_supervised_rows_learn_from_labels_of_the_same_images_or_of_all(
    reproduce: Run, inputs: Any, trainings: Trainings, tmp_path: Path
) -> None:
    tuples = tmp_path / "tuples.toml"
    tuples.write_text(
        inputs.recipe.read_text()
        .replace('name = "rank"\ntau = 0.7', 'name = "contrastive"\nnegatives = 2\nanchors_per_epoch = 4')
        .replace("longest_side_px = 24", "longest_side_px = 999")  # a row takes the method alone
    )
    rows = ("--only", "supervised*", "--only", "contrastive", "--seeds", 1)
    options = (*inputs.options(tmp_path / "out"), *rows, "--recipe-for", f"contrastive={tuples}")
    ended = reproduce("table2", *options)
    assert ended.code == 2
    assert "None of the rows can be had: no labels to learn from: --manifest FILE --train-split" in ended.err
    assert (
        "all labels, supervised AP, the same images are left out: no labels to learn from"
        in reproduce("table2", *inputs.options(tmp_path / "out"), "--page-only").out
    )
    assert trainings == []
    ended = reproduce("table2", *options, "--train-split", "train")
    assert ended.code == 0, ended.err
    assert sorted(trainings) == [("ap", 36), ("ap", 80), ("contrastive", 80)]
    lines = {line.row: line for line in results(tmp_path / "out").tables["table2"].lines}
    recipe = lines["contrastive"].cells[0].recipe
    assert recipe is not None
    assert (recipe["images"]["longest_side_px"], recipe["objective"]["negatives"]) == (24, 2)
    # All labels, but not all bought images among them.
    some = tmp_path / "some.csv"
    rows_kept = inputs.manifest.read_text().splitlines()
    some.write_text("\n".join([rows_kept[0], *(f"{inputs.root}/{row}" for row in rows_kept[3:])]))
    ended = reproduce("table2", *options, "--manifest", some, "--train-split", "train", "--page-only")
    assert "2 of 36 bought images are not among the labelled ones" in ended.out


def test_the_sparse_rows_share_their_images_and_say_how_sparse_they_are(
    reproduce: Run, inputs: Any, trainings: Trainings, tmp_path: Path
) -> None:
    options = (*inputs.options(tmp_path), "--seeds", 1, "--only", "no-aug", "--only", "no-ml-tau-0.5")
    ended = reproduce("table7", *options)
    assert ended.code == 0, ended.err
    counts = {images for _, images in trainings}
    assert len(trainings) == 2 and len(counts) == 1 and counts < set(range(2, 36))
    lines = {line.row: line for line in results(tmp_path).tables["table7"].lines}
    assert lines["no-aug"].cells[0].facts["neighbours"] <= 3
    assert lines["no-ml-tau-0.5"].cells[0].facts["tau"] == 0.5
    assert "| alone (%) | neighbours |" in ended.out


def test_strategies_choose_among_what_was_bought_each_its_own_images(
    reproduce: Run, inputs: Any, own_table: Callable[[str], Path], tmp_path: Path
) -> None:
    rows = [f'[[row]]\nid = "{name}"\nselection = "{name}"\nimages = 12' for name in METHODS]
    path = own_table("\n".join(['title = "Own"\nsizes = "as stated"', *rows]))
    listed = reproduce(path, *inputs.options(tmp_path), "--seeds", 2, "--list")
    assert listed.code == 0, listed.err
    cells = {word for word in listed.out.split() if word.startswith("n000012-")}
    assert len(cells) == 2 * len(METHODS)
    assert reproduce(path, *inputs.options(tmp_path), "--seeds", 2, "--list").out == listed.out


def test_where_all_images_resemble_each_other_there_is_no_sparse_set(
    reproduce: Run, inputs: Any, own_table: Callable[[str], Path], tmp_path: Path
) -> None:
    path = own_table('title = "Own"\n[[row]]\nid = "sparse"\nsparse = 0\n[[row]]\nid = "dense"')
    ended = reproduce(path, *inputs.options(tmp_path / "out"), "--set", "objective.tau=-0.9", "--page-only")
    assert ended.code == 0, ended.err
    assert "sparse is left out: only 1 of 36 bought images have at most 0 others above tau" in ended.out


def test_time_and_parameters_are_measured_without_bought_images(
    reproduce: Run, inputs: Any, tmp_path: Path
) -> None:
    words = ("--out", tmp_path, "--manifest", inputs.manifest, "--split", "test", "--recipe", inputs.recipe)
    ended = reproduce("table1", *words, "--teacher", inputs.teacher, "--set", "training.seed=4", "--json")
    assert ended.code == 0, ended.err
    lines = {line["row"]: line for line in ended.json["tables"]["table1"]["lines"]}
    for line in lines.values():
        assert line["cells"][0]["measures"]["parameters"] == pytest.approx(41_329, rel=0.2)
        assert line["cells"][0]["measures"]["ms an image"] > 0


def test_whitened_numbers_come_from_a_whitening_of_the_bought_images(
    reproduce: Run, inputs: Any, tmp_path: Path
) -> None:
    options = (*inputs.options(tmp_path), "--teacher", inputs.teacher, "--only", "teacher")
    ended = reproduce("table3", *options)
    assert ended.code == 0, ended.err
    assert "| mAP, step, whitened (%) |" in ended.out
    assert "Whitenings are learned from 36 other images." in ended.out
    line, ours = results(tmp_path).tables["table3"].lines
    assert (ours.row, ours.cells) == ("ours", ())
    assert set(line.cells[0].measures) == {"mAP", "mP@10", "mAP whitened", "mP@10 whitened"}


def test_kept_students_are_measured_otherwise_without_training_again(
    reproduce: Run, inputs: Any, trainings: Trainings, tmp_path: Path
) -> None:
    options = (*inputs.options(tmp_path), "--only", "ours", "--seeds", 1)
    assert reproduce("table6", *options, "--keep-students").code == 0
    assert reproduce("table6", *options, "--keep-students", "--scales", "1,0.7071").code == 0
    assert len(trainings) == 1
    assert reproduce("table6", *options, "--scales", "1,0.5").code == 0  # and now it is not kept
    assert len(trainings) == 1
    assert reproduce("table6", *options, "--image-size", 32).code == 0
    assert len(trainings) == 2


def test_what_is_listed_is_not_run_and_the_page_may_be_written_alone(
    reproduce: Run, inputs: Any, trainings: Trainings, tmp_path: Path
) -> None:
    options = (*inputs.options(tmp_path), "--seeds", 2, "--only", "ours")
    listed = reproduce("table6", *options, "--list", "--json").json
    assert [cell["state"] for cell in listed["cells"]] == ["waiting", "waiting"]
    assert (listed["done"], listed["seconds_left"]) == (0, None)
    assert [cell["rows"] for cell in listed["cells"]] == ["table6: ours, seed 0", "table6: ours, seed 1"]
    assert not (tmp_path / "cells").exists()
    both = reproduce("table6", *options, "--list", "--page-only")
    assert (both.code, "--list shows the cells and --page-only writes the page" in both.err) == (2, True)
    assert reproduce("table6", *options, "--seeds", 1).code == 0
    listed = reproduce("table6", *options, "--list", "--json").json
    assert [cell["state"] for cell in listed["cells"]] == ["done", "waiting"]
    assert listed["seconds_left"] > 0
    assert reproduce("table6", *options, "--page-only").code == 0
    assert len(trainings) == 1
    table = results(tmp_path).tables["table6"]
    assert (len(table.lines[1].cells), table.lines[1].planned) == (1, 2)
    assert "--page-only" not in table.command


def test_a_table_of_ones_own_with_equal_steps(
    reproduce: Run, inputs: Any, own_table: Callable[[str], Path], tmp_path: Path
) -> None:
    path = own_table('title = "Own"\n[[row]]\nid = "n{images}"\neach.images = [12, 36]')
    options = (*inputs.options(tmp_path / "out"), "--seeds", 1, "--set", "training.batch_size=12")
    ended = reproduce(path, *options, "--equal-steps")
    assert ended.code == 0, ended.err
    steps = [line.cells[0].steps for line in results(tmp_path / "out").tables["own"].lines]
    assert steps == [3, 3]


def test_with_equal_steps_rows_on_all_labels_keep_their_epochs_and_the_page_says_so(
    reproduce: Run, inputs: Any, tmp_path: Path
) -> None:
    rows = ("--only", "supervised-ap", "--only", "supervised-ap-same", "--seeds", 1, "--train-split", "train")
    options = (*inputs.options(tmp_path), *rows, "--sizes", 12, "--set", "training.batch_size=12")
    ended = reproduce("table2", *options, "--equal-steps")
    assert ended.code == 0, ended.err
    lines = {line.row: line for line in results(tmp_path).tables["table2"].lines}
    trained = [lines[row].cells[0] for row in ("supervised-ap-same", "supervised-ap")]
    # 36 images were bought, 3 batches; 12 images take 3 epochs for that, and 80 would have too many steps.
    assert [(cell.images, cell.epochs, cell.steps) for cell in trained] == [(12, 3, 3), (80, 1, 7)]
    assert "1 epoch, batches of at most 12" in ended.out
    assert "for every size as many steps as all bought images have" in ended.out
    told = "supervised-ap (it learns from 80 images, more than were bought)"
    assert told in ended.out and told in (tmp_path / "reproduce.html").read_text()


def test_a_table_may_ask_for_its_sizes_as_stated(
    reproduce: Run, inputs: Any, own_table: Callable[[str], Path], tmp_path: Path
) -> None:
    path = own_table('title = "Own"\nsizes = "as stated"\n[[row]]\nid = "n{images}"\neach.images = [12, 100]')
    ended = reproduce(path, *inputs.options(tmp_path / "out"), "--seeds", 1)
    assert ended.code == 0, ended.err
    assert "n100 is left out: it needs 100 images, and 36 were bought" in ended.out
    assert [len(line.cells) for line in results(tmp_path / "out").tables["own"].lines] == [1, 0]
