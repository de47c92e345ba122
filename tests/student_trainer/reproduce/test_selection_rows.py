"""Rows that strategies choose for stand beside a choice that is random, and choose as a plan would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_purchases import bought_run, paint

from shared.checkpoints import save_network
from shared.network import NetworkSpec, build_network
from student_trainer.acquire.records import PlanFacts
from student_trainer.acquire.selection.choice import METHODS
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.distil.eye import open_eye
from student_trainer.errors import InvalidInput
from student_trainer.recipe import changed
from student_trainer.reproduce.arguments import Arguments, MeasureOn
from student_trainer.reproduce.inputs import open_setting
from student_trainer.reproduce.run import Reproduction, planned
from student_trainer.reproduce.wording import sentences
from student_trainer.run_folder import RunFolder
from student_trainer.trials.file_digests import FileDigests
from student_trainer.trials.making import Trained

TABLE = """title = "Own"
sizes = "as stated"
[[row]]
id = "random"
images = 12
[[row]]
id = "k-center"
images = 12
selection = "k-center"
"""


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Bought by a strategy whose first choices are the smaller choice."""
    return bought_run(tmp_path_factory.mktemp("in_order"), 36, PlanFacts("k-center", 0, "a folder"))


def given(inputs: Any, run: RunFolder) -> Arguments:
    return Arguments(
        recipe=str(inputs.recipe),
        transfer_set=run.root,
        seeds=2,
        measure_on=MeasureOn(manifest=inputs.manifest, split="test"),
    )


def images(found: Reproduction) -> dict[str, list[frozenset[str]]]:
    """Row -> the images of each seed."""
    chosen: dict[str, list[frozenset[str]]] = {}
    for line in found.lines["own"]:
        for task in line.tasks:
            assert isinstance(task.making, Trained)
            digests = frozenset(image.digest for image in task.making.data.images)
            chosen.setdefault(line.row.id, []).append(digests)
    return chosen


def test_the_random_row_is_random_where_a_strategy_bought(
    inputs: Any, in_order: RunFolder, own_table: Callable[[str], Path], tmp_path: Path
) -> None:
    found = planned([str(own_table(TABLE))], (), given(inputs, in_order), tmp_path)
    rows = images(found)
    with TransferSet.open(in_order.transfer_set) as opened:
        first = frozenset(image.digest for image in opened.chosen()[:12])
    assert first not in rows["random"]
    assert rows["random"][0] != rows["random"][1]
    assert not set(rows["random"]) & set(rows["k-center"])
    said = " ".join(sentences(found.setting, found.lines["own"], beside_strategies=True))
    assert "others for each seed. What was bought had itself been chosen by a strategy" in said


def test_without_strategies_to_compare_smaller_sets_stay_the_first_that_were_chosen(
    inputs: Any, in_order: RunFolder, own_table: Callable[[str], Path], tmp_path: Path
) -> None:
    table = TABLE.replace('selection = "k-center"', "")
    rows = images(planned([str(own_table(table))], (), given(inputs, in_order), tmp_path))
    with TransferSet.open(in_order.transfer_set) as opened:
        first = frozenset(image.digest for image in opened.chosen()[:12])
    assert set(rows["random"]) == {first}


def test_a_strategy_sees_the_images_as_a_plan_shows_them(
    inputs: Any, own_table: Callable[[str], Path], tmp_path: Path
) -> None:
    setting = open_setting(given(inputs, inputs.run), FileDigests())
    recipe = next(iter(setting.students.values()))
    assert recipe.student.weights == "random"  # batch norm takes its statistics from the candidates
    with TransferSet.open(inputs.run.transfer_set) as opened:
        candidates = opened.chosen()
    rows = open_eye(recipe).on(candidates, None, lambda images: None)(candidates)
    assert np.array_equal(setting.look(recipe), rows)
    bare = open_eye(recipe).on([], None, lambda images: None)(candidates)
    assert not np.allclose(bare, rows, atol=1e-3)
    pool = setting.pool
    assert pool is not None
    order = pool._order(0, in_order_of_choice=False)
    expected = {
        candidates[order[place]].digest for place in METHODS["k-center"].strategy(rows[order], [], 12)
    }
    found = images(planned([str(own_table(TABLE))], (), given(inputs, inputs.run), tmp_path))
    assert found["k-center"][0] == expected


def test_a_strategy_does_not_choose_by_photographs_in_place_of_bought_ones(
    inputs: Any, tmp_path: Path
) -> None:
    weights = tmp_path / "w.safetensors"
    save_network(build_network(NetworkSpec("mobilenet_v2-320x0.1")), weights)
    setting = open_setting(given(inputs, bought_run(tmp_path, 8)), FileDigests())
    recipe = changed(next(iter(setting.students.values())), [f"student.weights={weights}"])
    first = setting.look(recipe)
    setting._seen.clear()
    assert setting.pool is not None
    image = setting.pool.planned[3].path
    content = image.read_bytes()
    paint(image, 99)
    with pytest.raises(InvalidInput, match=rf"{image.name} has changed: .* its descriptor was bought for"):
        setting.look(recipe)
    image.write_bytes(content)
    assert np.array_equal(setting.look(recipe), first)
