"""``student-trainer datasets`` as a user runs it: what is needed, what is there, and what of it is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Outcome, Run
from made_benchmarks import make_old, make_revisited, make_sfm120k
from made_datasets import make_cifar10, make_cub200, make_nus_wide
from PIL import Image

from shared.public_networks import PUBLISHED
from student_trainer.cli import main
from student_trainer.datasets.known import KNOWN
from student_trainer.datasets.labelled.catalogue import LABELLED


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["student-trainer", "datasets", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return Outcome(int(exit_.value.code or 0), printed.out, printed.err)

    return call


def test_the_list_says_what_to_get_of_every_set_and_network(run: Run) -> None:
    done = run()
    assert done.code == 0
    for known in (*KNOWN.values(), *LABELLED.values()):
        assert all(part in done.out for part in (known.title, known.holds, known.layout, *known.download))
    assert all(name in done.out for names in PUBLISHED.values() for name in names)
    assert "not there" not in done.out


def test_the_list_says_what_is_there(run: Run, tmp_path: Path) -> None:
    made = make_revisited(tmp_path / "test")
    found = {"roxford5k": made, "cifar10": make_cifar10(tmp_path, binary=True)}
    (tmp_path / "networks").mkdir()
    network = tmp_path / "networks" / "retrievalSfM120k-resnet101-gem-b80fb85.pth"
    network.touch()
    done = run("--root", tmp_path)
    assert f"roxford5k: Revisited Oxford (evaluation) - in {made}" in done.out
    assert "rparis6k: Revisited Paris (evaluation) - not there" in done.out
    assert f"{network.name} - in {network}" in done.out
    listed = run("--root", tmp_path, "--json").json
    assert {entry["name"]: entry["path"] for entry in listed["sets"]} == {
        name: str(found[name]) if name in found else None for name in (*KNOWN, *LABELLED)
    }
    assert sum(entry["path"] is not None for entry in listed["networks"]) == 1


def test_a_whole_copy_that_is_not_the_published_set_is_told_apart(run: Run, tmp_path: Path) -> None:
    done = run("check", make_revisited(tmp_path))
    assert done.code == 2
    assert "all 15 images are there" in done.out
    assert "was published with 4,993 database images, here are 12" in done.out
    assert run("check", make_revisited(tmp_path, "mine")).code == 0


def test_missing_images_are_counted_and_all_named_in_json(run: Run, tmp_path: Path) -> None:
    folder = make_revisited(tmp_path, "mine")
    gone = sorted((folder / "jpg").glob("mine_00000*.jpg"))[:7]
    for path in gone:
        path.unlink()
    done = run("check", folder)
    assert done.code == 2
    assert "7 of 15 images of mine are missing or empty" in done.out
    assert "and 2 more" in done.out
    result = run("check", folder, "--json").json
    assert (result["missing"], result["complete"]) == ([str(path) for path in gone], False)


def test_queries_that_are_no_images_and_boxes_over_the_edge_are_named(run: Run, tmp_path: Path) -> None:
    folder = make_revisited(tmp_path, "mine")
    (folder / "jpg" / "mine_query_000000.jpg").write_bytes(b"no image")
    Image.new("RGB", (50, 50)).save(folder / "jpg" / "mine_query_000001.jpg")
    result = run("check", folder, "--json").json
    assert result["unreadable"] == [str(folder / "jpg" / "mine_query_000000.jpg")]
    assert (
        "mine_query_000001.jpg has 50 x 50 pixels, the box is (12.0, 9.0, 84.0, 63.0)"
        in result["boxes_outside"][0]
    )
    assert (result["complete"], run("check", folder).code) == (False, 2)


def test_a_box_over_the_edge_alone_is_no_fault(run: Run, tmp_path: Path) -> None:
    folder = make_revisited(tmp_path, "mine")
    Image.new("RGB", (50, 50)).save(folder / "jpg" / "mine_query_000001.jpg")
    done = run("check", folder)
    assert done.code == 0
    assert "A box reaches over the edge of its image" in done.out


def test_the_training_set_and_the_distractors_are_checked_by_their_lists(run: Run, tmp_path: Path) -> None:
    sfm = make_sfm120k(tmp_path)
    result = run("check", sfm, "--json").json
    assert (result["files"], result["missing"]) == (32, [])
    assert result["differs"] == ["retrieval-SfM-120k was published with 98,045 images, here are 32."]
    distractors = tmp_path / "revisitop1m"
    distractors.mkdir()
    (distractors / "revisitop1m.txt").write_text("0/a.jpg\n0/b.jpg\n")
    result = run("check", distractors, "--json").json
    assert (result["files"], len(result["missing"])) == (2, 2)
    assert run("describe", distractors, "--json").json == {"name": "revisitop1m", "images": 2}


def test_describe_counts_what_a_set_says(run: Run, tmp_path: Path) -> None:
    revisited = run("describe", make_revisited(tmp_path), "--json").json
    assert (revisited["images"], revisited["queries"], revisited["boxes"]) == (12, 3, 3)
    assert revisited["grades"]["easy"] == {"least": 2, "median": 2, "most": 2, "none": 0}
    assert (
        "ok: 3 to 3 images a query, median 3; none for 0 queries" in run("describe", make_old(tmp_path)).out
    )
    sfm = run("describe", make_sfm120k(tmp_path), "--json").json
    assert sfm["splits"]["train"] == {"images": 24, "distinct_images": 24, "clusters": 6, "pairs": 18}
    assert (
        "split val: 8 images (8 distinct) in 2 clusters"
        in run("describe", tmp_path / "retrieval-SfM-120k").out
    )


def test_convert_writes_json_beside_the_pickle(run: Run, tmp_path: Path) -> None:
    folder = make_old(tmp_path)
    result = run("convert", folder, "--json").json
    assert result == {
        "name": "oxford5k",
        "protocol": "old",
        "images": 12,
        "queries": 3,
        "path": str(folder / "gnd_oxford5k.json"),
    }
    assert json.loads((folder / "gnd_oxford5k.json").read_text())["name"] == "oxford5k"


def test_a_folder_to_look_in_that_is_not_there_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "none", tmp_path / "file"):
        done = run("--root", root)
        assert (done.code, done.out) == (2, "")
        assert f"There is no folder {root}: name the one that the data sets are in." in done.err


@pytest.mark.parametrize("verb", ["check", "describe", "convert"])
def test_a_mistyped_folder_is_told_from_one_that_lacks_a_file(run: Run, tmp_path: Path, verb: str) -> None:
    done = run(verb, tmp_path / "none")
    assert (done.code, done.out) == (2, "")
    assert f"{tmp_path / 'none'} does not exist. All data sets and what they need" in done.err
    assert "ground truth" not in done.err
    known = run(verb, tmp_path / "roxford5k")
    assert f"{tmp_path / 'roxford5k'} does not exist. Revisited Oxford" in known.err
    (tmp_path / "there").mkdir()
    assert "There is no ground truth in" in run(verb, tmp_path / "there").err


def test_a_set_that_is_not_there_exits_2_with_what_to_download(run: Run, tmp_path: Path) -> None:
    for verb in ("check", "describe", "convert"):
        done = run(verb, tmp_path / "roxford5k")
        assert (done.code, done.out) == (2, "")
        assert "there is no gnd_roxford5k.pkl in" in done.err


def test_options_before_a_verb_are_refused_instead_of_dropped(run: Run, tmp_path: Path) -> None:
    done = run("--json", "check", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "Give options after the verb: student-trainer datasets check" in done.err


def test_help_and_reading_a_pickle_load_no_torch() -> None:
    code = (
        "import sys\n"
        "import student_trainer.cli, student_trainer.datasets.inspection, student_trainer.acquire.sources\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sets_of_labelled_images_are_checked_against_what_was_published(run: Run, tmp_path: Path) -> None:
    cub = make_cub200(tmp_path)
    done = run("check", cub)
    assert done.code == 2
    assert "cub200: all 24 images are there." in done.out
    assert (
        "cub200, split test, was published with 5,924 images of 100 classes; here are 12 images of 3 classes."
        in done.out
    )
    (cub / "images" / "001.Bird_1" / "Bird_1_0002.jpg").unlink()
    assert "1 of 24 images of cub200 are missing or empty:" in run("check", cub).out


def test_a_set_of_arrays_is_checked_by_its_files_and_none_is_written(run: Run, tmp_path: Path) -> None:
    cifar = make_cifar10(tmp_path)
    result = run("check", cifar, "--json").json
    assert (result["files"], result["missing"], result["complete"]) == (6, [], False)
    assert "cifar10: all 6 files are there." in run("check", cifar).out
    assert not (cifar / "png").exists()


def test_describe_counts_the_splits_of_labelled_images(run: Run, tmp_path: Path) -> None:
    splits = run("describe", make_nus_wide(tmp_path), "--json").json["splits"]
    assert {name: (counts["images"], counts["queries"]) for name, counts in splits.items()} == {
        "train": (14, 0),
        "test": (35, 21),
        "database": (14, 0),
    }
    assert splits["test"]["labels_per_image"] > 1.5
    assert (
        "nus-wide, split test: 35 images of 21 classes, 21 of them queries."
        in run("describe", tmp_path / "NUS-WIDE").out
    )


def test_a_labelled_set_that_is_not_there_is_told_with_what_to_download(run: Run, tmp_path: Path) -> None:
    (tmp_path / "CUB_200_2011").mkdir()
    for folder in (tmp_path / "CUB_200_2011", tmp_path / "none" / "cub200"):
        done = run("check", folder)
        assert (done.code, done.out) == (2, "")
        assert "there is no image_class_labels.txt in" in done.err
        assert "Nothing is downloaded for you. Get CUB_200_2011.tgz (1.1 GB)" in done.err
