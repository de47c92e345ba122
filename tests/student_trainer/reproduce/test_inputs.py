"""``reproduce`` and ``train`` know the same of the same bought images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_benchmarks import make_sfm120k
from made_purchases import bought_images

from student_trainer.distil.data import from_sfm120k, from_transfer_set
from student_trainer.distil.labels.source import LabelSource
from student_trainer.reproduce.arguments import Arguments, MeasureOn
from student_trainer.reproduce.inputs import open_setting
from student_trainer.reproduce.run import planned
from student_trainer.run_folder import RunFolder
from student_trainer.trials.file_digests import FileDigests

BOUGHT = [9, 0, 1, 5, 8, 4, 2, 14, 13, 12]
"""Of 16 images of SfM-120k: all four models, but not all pairs."""

FROM_TEACHER_OR_BOTH = """title = "Own"
[[row]]
id = "teacher"
[[row]]
id = "both"
learns_from = "teacher and labels"
set = ["objective.name=asym-triplet", "objective.negatives=1", "objective.anchors_per_epoch=8"]
"""


@pytest.fixture(scope="module")
def sfm120k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sfm120k(tmp_path_factory.mktemp("sfm"), clusters=4, images=4)


@pytest.fixture(scope="module")
def run(sfm120k: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    images = from_sfm120k(sfm120k, None).images
    rows = np.random.default_rng(0).standard_normal((len(BOUGHT), 8))
    return bought_images(tmp_path_factory.mktemp("bought"), [images[place] for place in BOUGHT], rows)


def given(inputs: Any, run: RunFolder, **labels: Any) -> Arguments:
    measured = MeasureOn(manifest=labels.pop("manifest", inputs.manifest), split="test")
    recipe = str(inputs.recipe)
    return Arguments(recipe=recipe, transfer_set=run.root, seeds=1, measure_on=measured, **labels)


def same_as_train(found: Arguments, source: LabelSource) -> None:
    pool = open_setting(found, FileDigests()).pool
    assert pool is not None and found.transfer_set is not None
    bought = from_transfer_set(RunFolder(found.transfer_set).transfer_set)
    trained = source.add_to(bought)
    assert pool.data.digest() == trained.digest() != bought.digest()
    assert pool.data.label_names == trained.label_names


def test_of_sfm120k_models_names_and_pairs(inputs: Any, run: RunFolder, sfm120k: Path) -> None:
    found = given(inputs, run, sfm120k=sfm120k)
    same_as_train(found, LabelSource(sfm120k=sfm120k))
    pool = open_setting(found, FileDigests()).pool
    assert pool is not None and pool.data.pairs is not None and len(pool.data.pairs) == 6


def test_of_a_manifest_with_labels_that_no_bought_image_has(inputs: Any, tmp_path: Path) -> None:
    header, first, *others = inputs.manifest.read_text().splitlines()
    lines = [header, "bought/079.png,0 of another place,0,train", first, *others[:-11], *others[-10:]]
    manifest = inputs.manifest.with_name("more.csv")
    manifest.write_text("\n".join(lines))
    found = given(inputs, inputs.run, manifest=manifest, train_split="train")
    same_as_train(found, LabelSource(manifest=manifest, split="train"))


def test_pairs_change_nothing_for_what_learns_from_the_teacher_alone(
    inputs: Any, run: RunFolder, sfm120k: Path, own_table: Callable[[str], Path], tmp_path: Path
) -> None:
    table = [str(own_table(FROM_TEACHER_OR_BOTH))]
    with_pairs, without = (
        {
            line.row.id: [task.making.name for task in line.tasks]
            for line in planned(table, (), arguments, tmp_path).lines["own"]
        }
        for arguments in (given(inputs, run, sfm120k=sfm120k), given(inputs, run))
    )
    assert with_pairs["teacher"] == without["teacher"] != []
    assert with_pairs["both"]
