"""``student-trainer curve`` on tiny images: what it leaves, does not do twice, and refuses."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from student_trainer.acquire.records import PlanFacts
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.cli import main
from student_trainer.curve.document import Curve, read_curve
from student_trainer.distil.data import from_transfer_set
from student_trainer.distil.label_free import score
from student_trainer.distil.threshold import choose
from student_trainer.distil.train import train
from student_trainer.recipe import load
from student_trainer.run_folder import RunFolder
from student_trainer.trials import cells, making
from student_trainer.trials.yardsticks import threshold

PUBLISHED = "retrievalSfM120k-resnet101-gem-b80fb85.pth"
Buy = Callable[..., RunFolder]


@pytest.fixture
def curve(
    recipe_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """A function that runs the verb, and returns its exit code and what it printed."""

    def run(folder: RunFolder, *options: object) -> tuple[int, str, str]:
        words = ("curve", "--run", folder.root, "--recipe", recipe_file, *options)
        monkeypatch.setattr(sys, "argv", ["student-trainer", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return int(exit_.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The image digests of every training that is run."""
    seen: list[list[str]] = []

    def noting(recipe: Any, data: Any, folder: Any) -> Any:
        seen.append([image.digest for image in data.images])
        return train(recipe, data, folder)

    monkeypatch.setattr(making, "train", noting)
    return seen


def document(run: RunFolder) -> Curve:
    return read_curve(run.curve_document)


def test_a_curve_is_trained_drawn_written_and_not_trained_again(
    buy: Buy, curve: Any, trainings: list[list[str]]
) -> None:
    run = buy(100)
    before = run.transfer_set.read_bytes()
    code, out, err = curve(run, "--sizes", "20,40,80", "--seeds", 2)
    assert code == 0, err
    found = document(run)
    assert [(cell.queries, cell.seed) for cell in found.cells] == [
        (20, 0), (40, 0), (80, 0), (20, 1), (40, 1), (80, 1),
    ]  # fmt: skip
    assert found.verdict.sentence in out
    assert out.count("overlap@10") >= 1
    assert 0 < found.before < 1
    assert (found.bought, found.yardstick.images, found.teacher) == (100, 20, None)
    picture = Image.open(run.curve / "curve.png")
    assert picture.size == (1000, 640)
    assert len(list(csv.reader((run.curve / "curve.csv").open()))) == 7
    assert run.transfer_set.read_bytes() == before
    # Nested, and apart from what is held back.
    by_size = {len(images): set(images) for images in trainings[:3]}
    assert by_size[20] < by_size[40] < by_size[80]
    assert by_size[20] != set(trainings[3])
    # Weights and pixels are gone, the record stays.
    assert not list(run.curve.rglob("*.safetensors"))
    assert not list(run.curve.rglob("*.u8"))
    assert len(list(run.curve.glob("n*/made.json"))) == 6
    assert len(list(run.curve.glob("before-*/made.json"))) == 2  # one for each start

    assert curve(run, "--sizes", "20,40,80", "--seeds", 2)[0] == 0
    assert (len(trainings), document(run)) == (6, found)
    assert curve(run, "--sizes", "30,80", "--seeds", 2)[0] == 0
    assert len(trainings) == 8  # the two of size 30
    assert curve(run, "--sizes", "80", "--set", "training.epochs=3")[0] == 0
    assert len(trainings) == 11


def test_the_quality_of_a_cell_is_that_of_its_student_on_the_images_held_back(
    buy: Buy, curve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.checkpoints import load_network
    from shared.extraction import describe
    from student_trainer.curve.held_back import hold_back

    monkeypatch.setattr(cells, "_make_room", lambda folder, keep_student: None)
    run = buy(100)
    assert curve(run, "--sizes", "80", "--seeds", 1)[0] == 0
    data = from_transfer_set(run.transfer_set)
    held = data.take(hold_back([image.digest for image in data.images])[1])
    student = load_network(next(run.curve.rglob("student.safetensors")))
    rows = describe(student, [image.path for image in held.images], 24, device="cpu")
    expected = score(rows, held.teacher, 10, 0.7)
    (cell,) = document(run).cells
    assert cell.measures == {
        "overlap@10": pytest.approx(expected.overlap, abs=1e-6),
        "AP": pytest.approx(expected.average_precision, abs=1e-6),
    }
    assert cell.quality == cell.measures["overlap@10"]


def test_a_cell_learns_from_all_images_of_its_size_whatever_the_recipe_holds_back(
    buy: Buy, curve: Any, trainings: list[list[str]]
) -> None:
    run = buy(100)
    code, _, err = curve(run, "--sizes", "40", "--seeds", 1, "--set", "validation.share=0.5")
    assert code == 0, err
    assert "validation.share is off in a curve" in err
    (recipe,) = (load(path) for path in run.curve.glob("*/recipe.toml"))
    assert recipe.validation.share == 0
    assert [len(images) for images in trainings] == [40]


@pytest.mark.parametrize("choice", ["objective.tau=auto", "objective.tau=0.7"])
def test_without_a_stated_threshold_precision_is_measured_at_the_one_that_fits_what_is_held_back(
    buy: Buy, recipe_file: Path, choice: str
) -> None:
    data = from_transfer_set(buy(60).transfer_set)
    assert data.teacher is not None
    fitting = choose(data.teacher).tau
    assert fitting != 0.7
    assert threshold(load(recipe_file, [choice]), data) == (fitting if "auto" in choice else 0.7)


class Killed(BaseException):
    """The process dies here."""


def test_a_curve_that_is_killed_continues_with_the_cell_it_was_at(
    buy: Buy, curve: Any, trainings: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = buy(100)
    options = ("--sizes", "20,40", "--seeds", 2)
    noted = making.train

    def kill(recipe: Any, data: Any, folder: Any) -> Any:
        if len(trainings) == 2:
            raise Killed
        return noted(recipe, data, folder)

    with monkeypatch.context() as patch:
        patch.setattr(making, "train", kill)
        with pytest.raises(Killed):
            curve(run, *options)
    assert not run.curve_document.exists()
    assert curve(run, *options)[0] == 0
    assert [len(images) for images in trainings] == [20, 40, 20, 40]
    whole = document(run)
    for record in run.curve.glob("*/made.json"):
        record.unlink()
    assert curve(run, *options)[0] == 0
    assert document(run) == whole  # trained anew from the beginning: the same numbers


def test_labelled_images_give_map_with_the_teacher_s_line(
    buy: Buy, curve: Any, manifest: Path, tmp_path: Path
) -> None:
    from shared.checkpoints import save_network
    from shared.network import NetworkSpec, build_network

    run = buy(24)
    save_network(build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=9), tmp_path / "teacher.safetensors")
    options = ("--manifest", manifest, "--teacher", tmp_path / "teacher.safetensors", "--seeds", 1, "--json")
    code, out, err = curve(run, *options)
    assert code == 0, err
    found = document(run)
    assert json.loads(out) == found.model_dump(mode="json")
    assert found.sizes == [12, 24]  # without labels a part would be held back; a quarter would be too few
    assert found.yardstick.name == "mAP (step)"
    assert set(found.cells[0].measures) == {"mAP", "map_trapezoid", "mp_at_10", "recall_at_1"}
    assert 0 < found.teacher <= 1
    assert found.verdict.answer == "cannot tell"


def test_a_choice_by_k_center_is_cut_in_its_own_order(
    buy: Buy, curve: Any, manifest: Path, trainings: list[list[str]]
) -> None:
    run = buy(20, PlanFacts("k-center", 0, "a folder", network="a network"))
    assert curve(run, "--manifest", manifest, "--sizes", "10", "--seeds", 2)[0] == 0
    with TransferSet.open(run.transfer_set) as transfer_set:
        first = transfer_set.bought().images[:10]
    assert trainings == [first, first]
    assert "first so many images that were chosen" in document(run).subsets


def test_bought_images_that_are_measured_on_are_counted(
    buy: Buy, curve: Any, manifest: Path, tmp_path: Path
) -> None:
    run = buy(20)
    (tmp_path / "copy.png").write_bytes((tmp_path / "bought" / "003.png").read_bytes())
    leaking = tmp_path / "leaking.csv"
    leaking.write_text(f"{manifest.read_text()}\n{tmp_path}/copy.png,3,0")
    options = ("--sizes", "10", "--seeds", 1)
    code, out, err = curve(run, "--manifest", leaking, *options)
    told = "1 of the bought images are measured on too"
    assert (code, told in out, told in document(run).yardstick.sentence) == (0, True, True), err
    assert told not in curve(run, "--manifest", manifest, *options)[1]


def test_with_equal_steps_small_sizes_train_for_more_epochs(buy: Buy, curve: Any, manifest: Path) -> None:
    run = buy(40)
    assert curve(run, "--manifest", manifest, "--sizes", "10,40", "--seeds", 1, "--equal-steps")[0] == 0
    assert [(cell.epochs, cell.steps) for cell in document(run).cells] == [(6, 6), (2, 6)]
    assert document(run).training == "Every size trains for as many steps as the largest."


def test_a_damaged_record_is_measured_again(buy: Buy, curve: Any, trainings: list[list[str]]) -> None:
    run = buy(100)
    assert curve(run, "--sizes", "20", "--seeds", 1)[0] == 0
    record = next(run.curve.glob("n*/made.json"))
    record.write_text(record.read_text()[:40])
    assert curve(run, "--sizes", "20", "--seeds", 1)[0] == 0
    assert len(trainings) == 2


def test_what_cannot_be_drawn_is_refused_before_anything_is_trained(
    buy: Buy, curve: Any, trainings: list[list[str]], tmp_path: Path, manifest: Path
) -> None:
    run = buy(30)
    for options, complaint in [
        ((), "without labels a curve needs 100 or more"),
        (("--set", "objective.name=ap"), "learns from labels, and queries buy none"),
        (("--split", "test"), "--split and --teacher are for labelled images"),
        (("--manifest", manifest, "--teacher", tmp_path / "none"), "There is no teacher checkpoint"),
        (("--manifest", manifest, "--teacher", PUBLISHED), f"networks/retrieval-SfM-120k/{PUBLISHED}"),
        (("--manifest", manifest.parent / "test", "--split", "x"), "is a folder and has no splits"),
        (("--manifest", manifest, "--sizes", "31"), "--sizes 31"),
    ]:
        code, _, err = curve(run, *options)
        assert (code, complaint in err) == (2, True), err
    missing = RunFolder(tmp_path / "nowhere")
    assert curve(missing)[0] == 2
    assert trainings == []
