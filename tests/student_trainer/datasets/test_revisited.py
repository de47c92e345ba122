"""Oxford and Paris from the pickles that their projects publish: read once, kept as JSON, checked."""

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_benchmarks import BOX, make_old, make_revisited, write_gnd

from student_trainer.datasets.ground_truth import Benchmark, QueryTruth
from student_trainer.datasets.revisited import convert, open_benchmark, read_pickled_ground_truth
from student_trainer.errors import InvalidInput

TRUTH: dict[str, Any] = {"bbx": list(BOX), "easy": [0], "hard": [1], "junk": []}


@pytest.mark.parametrize("as_arrays", [False, True], ids=["lists", "arrays"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_revisited_benchmark_is_read_from_any_pickle(
    tmp_path: Path, protocol: int, as_arrays: bool
) -> None:
    folder = make_revisited(tmp_path, pickle_protocol=protocol, as_arrays=as_arrays)
    benchmark = read_pickled_ground_truth(folder / "gnd_roxford5k.pkl")
    assert (benchmark.name, benchmark.protocol, benchmark.root) == ("roxford5k", "revisited", folder)
    assert (len(benchmark.images), len(benchmark.queries)) == (12, 3)
    assert benchmark.ground_truth[1] == QueryTruth(BOX, easy=(4, 5), hard=(6,), junk=(7,))
    assert all(path.is_file() for path in (*benchmark.image_paths, *benchmark.query_paths))


@pytest.mark.parametrize("as_arrays", [False, True], ids=["lists", "arrays"])
def test_the_old_protocol_is_known_by_its_grades(tmp_path: Path, as_arrays: bool) -> None:
    benchmark = open_benchmark(make_old(tmp_path, as_arrays=as_arrays))
    assert (benchmark.name, benchmark.protocol) == ("oxford5k", "old")
    assert benchmark.ground_truth[2] == QueryTruth(BOX, ok=(8, 9, 10), junk=(11,))
    assert set(benchmark.queries) < set(benchmark.images)


def test_the_pickle_is_converted_once_and_the_json_file_is_read_from_then_on(tmp_path: Path) -> None:
    folder = make_revisited(tmp_path)
    first = open_benchmark(folder)
    converted = folder / "gnd_roxford5k.json"
    stamp = converted.stat().st_mtime_ns
    assert open_benchmark(folder) == first
    assert open_benchmark(folder / "gnd_roxford5k.pkl") == first
    assert converted.stat().st_mtime_ns == stamp
    (folder / "gnd_roxford5k.pkl").unlink()
    assert open_benchmark(folder) == first
    assert open_benchmark(converted) == first


def test_a_pickle_that_was_replaced_is_converted_again(tmp_path: Path) -> None:
    folder = make_revisited(tmp_path)
    open_benchmark(folder)
    write_gnd(folder, "roxford5k", ["a", "b"], ["q"], [TRUTH])
    assert open_benchmark(folder).images == ("a", "b")
    assert open_benchmark(folder).images == ("a", "b")


def test_a_damaged_json_file_beside_the_pickle_is_made_again(tmp_path: Path) -> None:
    folder = make_revisited(tmp_path)
    first = open_benchmark(folder)
    converted = folder / "gnd_roxford5k.json"
    converted.write_text(converted.read_text()[:100])
    assert open_benchmark(folder) == first
    (folder / "gnd_roxford5k.pkl").unlink()
    assert open_benchmark(folder) == first


def test_where_nothing_can_be_written_the_pickle_is_read_each_time(tmp_path: Path) -> None:
    folder = make_revisited(tmp_path)
    (folder / "gnd_roxford5k.json").mkdir()  # stands in the way, also for who may write anywhere
    for _ in range(2):
        assert len(open_benchmark(folder).images) == 12
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_for_reading_alone_is_enough(tmp_path: Path) -> None:
    folder = make_revisited(tmp_path)
    folder.chmod(0o555)
    assert len(open_benchmark(folder).images) == 12


def test_convert_writes_the_file_and_says_where(tmp_path: Path) -> None:
    folder = make_old(tmp_path)
    benchmark, path = convert(folder)
    assert path == folder / "gnd_oxford5k.json"
    (folder / "gnd_oxford5k.pkl").unlink()
    assert open_benchmark(folder) == benchmark
    with pytest.raises(InvalidInput, match=r"There is no gnd_oxford5k\.pkl in .* to convert"):
        convert(folder)


def test_a_folder_with_two_ground_truths_asks_for_one(tmp_path: Path) -> None:
    folder = make_revisited(tmp_path)
    shutil.copy(make_old(tmp_path / "old") / "gnd_oxford5k.pkl", folder)
    with pytest.raises(InvalidInput, match=r"several ground truths: gnd_oxford5k\.pkl, gnd_roxford5k\.pkl"):
        open_benchmark(folder)
    assert open_benchmark(folder / "gnd_oxford5k.pkl").protocol == "old"


def test_a_query_without_a_box_asks_with_its_whole_image(tmp_path: Path) -> None:
    path = write_gnd(tmp_path, "made", ["a", "b"], ["q"], [{**TRUTH, "bbx": None}])
    assert read_pickled_ground_truth(path).ground_truth[0].box is None
    path = write_gnd(tmp_path, "made", ["a", "b"], ["q"], [{k: v for k, v in TRUTH.items() if k != "bbx"}])
    assert read_pickled_ground_truth(path).ground_truth[0].box is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c.pop("gnd"), "lacks 'gnd'; it holds: imlist, qimlist"),
        (lambda c: c.update(gnd=[]), "'gnd' should list the ground truth of each query"),
        (lambda c: c.update(gnd={}), "'gnd' should list the ground truth of each query"),
        (lambda c: c.update(gnd=[7]), "'gnd' of query 0 should be a dictionary with 'easy', but is a int"),
        (lambda c: c.update(imlist=[]), "'imlist' is empty"),
        (lambda c: c.update(qimlist=[]), "'qimlist' is empty"),
        (lambda c: c.update(imlist="ab"), "'imlist' should be a list of names, but is a str of 2"),
        (lambda c: c.update(imlist=["a", 3]), "'imlist' should be a list of names, but is a list of 2"),
        (lambda c: c.update(imlist=["a", "a"]), "images listed twice in the database: 1, a"),
        (lambda c: c.update(qimlist=["a"]), "queries that stand in the database: 1, a"),
        (lambda c: c.update(qimlist=["q", "r"]), "2 queries are listed, but 1 have a ground truth"),
        (lambda c: c["gnd"][0].update(easy=[2]), r"query 0 \(q\): easy holds the index 2"),
        (lambda c: c["gnd"][0].update(junk=[-1]), r"query 0 \(q\): junk holds the index -1"),
        (lambda c: c["gnd"][0].update(junk=[0.5]), "'junk' should hold whole numbers"),
        (lambda c: c["gnd"][0].update(junk=["a"]), "'junk' should be a list of numbers"),
        (lambda c: c["gnd"][0].update(junk=[2**60]), "'junk' should hold whole numbers"),
        (lambda c: c["gnd"][0].update(junk=[2**70]), "is refused: it holds an integer of 71 bits"),
        (lambda c: c.update(imlist=["a", "\ud800"]), r"holds 1 names that no file can have, .* '\\ud800'"),
        (lambda c: c.update(qimlist=["q" * 1_001]), "'qimlist' holds 1 names that no file can have"),
        (
            lambda c: c.update(gnd=[{**TRUTH, "easy": [0] * 2_000}] * 3_000),
            "'gnd' grades 6,003,000 images for 3,000 queries; at most 4,000,000 for 100,000",
        ),
        (lambda c: c.update(gnd=[{}] * 100_001), "'gnd' grades 0 images for 100,001 queries"),
        (lambda c: c["gnd"][0].pop("hard"), "query 0 lacks 'hard'; it holds: bbx, easy, junk"),
        (lambda c: c["gnd"][0].update(bbx=[1, 2, 3]), "a box has 4 numbers, found 3"),
        (lambda c: c["gnd"][0].update(bbx="box"), "'bbx' should be a list of numbers, but is a str of 3"),
        (lambda c: c["gnd"][0].update(bbx=[9, 9, 1, 1]), "has no area within an image"),
    ],
)
def test_a_ground_truth_that_cannot_be_is_refused_with_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    content = {"imlist": ["a", "b"], "qimlist": ["q"], "gnd": [dict(TRUTH)]}
    change(content)
    path = tmp_path / "gnd_made.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InvalidInput, match=complaint):
        open_benchmark(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["gnd_made.pkl"]


def test_whole_numbers_as_matlab_writes_them_are_indices(tmp_path: Path) -> None:
    path = write_gnd(tmp_path, "made", ["a", "b"], ["q"], [{**TRUTH, "easy": [0.0], "hard": [1.0]}])
    truth = read_pickled_ground_truth(path).ground_truth[0]
    assert (truth.easy, truth.hard, type(truth.hard[0])) == ((0,), (1,), int)


def test_the_json_form_says_the_same_as_the_pickle(tmp_path: Path) -> None:
    folder = make_revisited(tmp_path, seed=3)
    pickled = read_pickled_ground_truth(folder / "gnd_roxford5k.pkl")
    open_benchmark(folder)
    (folder / "gnd_roxford5k.pkl").unlink()
    converted: Benchmark = open_benchmark(folder)
    assert converted == replace(pickled, root=converted.root)
