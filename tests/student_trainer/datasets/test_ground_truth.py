"""A benchmark says what can be, and comes back from its JSON file as it was."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.datasets.ground_truth import (
    Benchmark,
    QueryTruth,
    from_document,
    read_ground_truth,
    read_if_made_from,
    to_document,
    write_ground_truth,
)
from student_trainer.errors import InvalidInput, StorageFailed

ROOT = Path("/data/roxford5k")
TRUTH = QueryTruth((1.5, 2.0, 30.0, 40.25), easy=(0, 3), hard=(1,), junk=(2,))
NEW = Benchmark("roxford5k", ROOT, ("a", "b", "c", "d", "e"), ("q",), (TRUTH,))
OLD = Benchmark(
    "oxford5k", ROOT, ("a", "b", "c"), ("a",), (QueryTruth(None, ok=(0, 1), junk=(2,)),), protocol="old"
)


def test_images_lie_where_the_public_archives_have_them() -> None:
    assert NEW.image_paths[1] == ROOT / "jpg" / "b.jpg"
    assert NEW.query_paths == (ROOT / "jpg" / "q.jpg",)
    other = replace(NEW, folder="images", suffix="", images=("x/a.png",), ground_truth=(QueryTruth(),))
    assert other.image_paths == (ROOT / "images" / "x" / "a.png",)


@pytest.mark.parametrize("benchmark", [NEW, OLD], ids=["revisited", "old"])
def test_a_benchmark_comes_back_from_its_file(tmp_path: Path, benchmark: Benchmark) -> None:
    here = replace(benchmark, root=tmp_path)
    write_ground_truth(here, tmp_path / "gnd.json")
    assert read_ground_truth(tmp_path / "gnd.json") == here
    assert [path.name for path in tmp_path.iterdir()] == ["gnd.json"]


@given(
    st.lists(st.integers(0, 9), unique=True),
    st.floats(0, 100),
    st.floats(0, 100),
    st.floats(0.001, 1e6),
    st.floats(0.001, 1e6),
)
def test_any_benchmark_comes_back_from_json_to_the_last_digit(
    graded: list[int], x: float, y: float, width: float, height: float
) -> None:
    third = len(graded) // 3
    truth = QueryTruth(
        (x, y, x + width, y + height),
        tuple(graded[:third]),
        tuple(graded[third : 2 * third]),
        tuple(graded[2 * third :]),
    )
    benchmark = Benchmark("made", ROOT, tuple("abcdefghij"), ("q",), (truth,))
    document = json.loads(json.dumps(to_document(benchmark)))
    assert from_document(document, ROOT / "gnd_made.json") == benchmark


def test_the_file_is_taken_only_if_it_was_made_from_the_same_pickle(tmp_path: Path) -> None:
    path = tmp_path / "gnd.json"
    assert read_if_made_from(path, "ab") is None
    write_ground_truth(NEW, path, made_from="ab")
    assert read_if_made_from(path, "ab") == replace(NEW, root=tmp_path)
    assert read_if_made_from(path, "cd") is None
    path.write_text(path.read_text()[:-20])
    assert read_if_made_from(path, "ab") is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"images": ()}, "0 database images and 1 queries"),
        ({"queries": (), "ground_truth": ()}, "5 database images and 0 queries"),
        ({"ground_truth": (TRUTH, TRUTH)}, "1 queries are listed, but 2 have a ground truth"),
        ({"images": ("a", "b", "a", "d", "b")}, "images listed twice in the database: 2, a, b"),
        (
            {"images": tuple("aabbccddeeffg")},
            "images listed twice in the database: 6, a, b, c, d, e and 1 more",
        ),
        ({"queries": ("q", "q"), "ground_truth": (TRUTH, TRUTH)}, r"queries listed twice: 1, q \(1.5"),
        ({"queries": ("c",)}, "queries that stand in the database: 1, c"),
        ({"images": ("a", "../b", "/c", "", "e")}, "cannot be written: 3, '../b', '/c', ''"),
        ({"queries": ("\0",)}, "cannot be written: 1"),
        ({"queries": ("\ud800",)}, r"cannot be written: 1, '\\ud800'"),
        ({"images": ("a" * 1_001, "b", "c", "d", "e")}, "cannot be written: 1, 'aaaa"),
        ({"name": "\udcff"}, r"that no file can have: 1, '\\udcff'"),
        ({"folder": "\ud800"}, r"that no file can have: 1, '\\ud800'"),
        ({"protocol": "new"}, "no protocol 'new'"),
        ({"ground_truth": (QueryTruth(easy=(5,)),)}, r"query 0 \(q\): easy holds the index 5; .* 0 to 4"),
        ({"ground_truth": (QueryTruth(junk=(-1,)),)}, "junk holds the index -1"),
        ({"ground_truth": (QueryTruth(hard=(True,)),)}, "hard holds the index True"),
        ({"ground_truth": (QueryTruth(hard=(1.0,)),)}, "hard holds the index 1.0"),  # type: ignore[arg-type]
        ({"ground_truth": (QueryTruth(easy=(1,), junk=(1,)),)}, "image 1 is graded easy and junk"),
        ({"ground_truth": (QueryTruth(easy=(1, 1)),)}, "image 1 is graded easy and easy"),
        ({"ground_truth": (QueryTruth(ok=(1,)),)}, "the revisited protocol knows no grade 'ok'"),
        ({"ground_truth": (QueryTruth((5.0, 0.0, 5.0, 9.0)),)}, "has no area within an image"),
        ({"ground_truth": (QueryTruth((0.0, 9.0, 5.0, 1.0)),)}, "has no area within an image"),
        ({"ground_truth": (QueryTruth((-9.0, 0.0, -5.0, 9.0)),)}, "has no area within an image"),
        ({"ground_truth": (QueryTruth((0.0, 0.0, float("nan"), 9.0)),)}, "has no area within an image"),
    ],
)
def test_a_benchmark_that_cannot_be_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        replace(NEW, **changes)


def test_the_old_protocol_searches_its_own_queries_and_may_ask_twice_with_two_boxes() -> None:
    truths = (QueryTruth((0, 0, 5, 5), ok=(0,)), QueryTruth((5, 5, 9, 9), ok=(1,)))
    twice = replace(OLD, queries=("a", "a"), ground_truth=truths)
    assert len(twice.queries) == 2
    with pytest.raises(InvalidInput, match="the old protocol knows no grade 'easy'"):
        replace(OLD, ground_truth=(QueryTruth(easy=(0,)),))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is cut or no JSON"),
        ("[" * 100_000, "is cut or no JSON"),
        ("[]", "is no ground truth: its format is 'list'"),
        ('{"format": "x"}', "is no ground truth: its format is 'x'"),
        ('{"format": "ration-ground-truth-1"}', "KeyError: 'protocol'"),
        (
            '{"format": "ration-ground-truth-1", "protocol": "old", "name": "n", "images": 3, "queries": []}',
            "TypeError",
        ),
    ],
)
def test_a_file_that_is_no_ground_truth_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "gnd.json").write_text(text)
    with pytest.raises(InvalidInput, match=complaint):
        read_ground_truth(tmp_path / "gnd.json")


def test_a_box_of_three_numbers_is_refused(tmp_path: Path) -> None:
    document = to_document(NEW)
    document["queries"][0]["box"] = [1, 2, 3]
    with pytest.raises(InvalidInput, match="a box has 4 numbers, found 3"):
        from_document(document, tmp_path / "gnd.json")


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.json cannot be read: No such file"):
        read_ground_truth(tmp_path / "none.json")
    with pytest.raises(StorageFailed, match=r"gnd\.json cannot be written: No such file"):
        write_ground_truth(NEW, tmp_path / "nowhere" / "gnd.json")
