"""What the public data sets need is said in one way, wherever one is missing."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from made_benchmarks import make_old, make_revisited, make_sfm120k

from student_trainer.datasets.known import (
    KNOWN,
    find_set,
    in_protocol,
    missing_set,
    photographs_of,
    same_photographs,
    short_name,
)
from student_trainer.datasets.revisited import convert, open_benchmark
from student_trainer.datasets.sfm120k import open_sfm120k
from student_trainer.errors import InvalidInput


@pytest.mark.parametrize("subfolder", ["", "test", "train"])
def test_a_set_is_found_where_the_public_code_or_a_user_puts_it(tmp_path: Path, subfolder: str) -> None:
    below = tmp_path / subfolder
    made = make_revisited(below)
    assert find_set(tmp_path, "roxford5k") == made
    made = make_old(below)
    assert find_set(tmp_path, "oxford5k") == made
    made = make_sfm120k(below)
    assert find_set(tmp_path, "retrieval-SfM-120k") == made
    assert find_set(below / "roxford5k", "roxford5k") == below / "roxford5k"


def test_a_converted_set_is_found_without_its_pickle(tmp_path: Path) -> None:
    folder = make_revisited(tmp_path)
    convert(folder)
    (folder / "gnd_roxford5k.pkl").unlink()
    assert find_set(tmp_path, "roxford5k") == folder


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("roxford5k", lambda root: find_set(root, "roxford5k")),
        ("rparis6k", lambda root: open_benchmark(root / "rparis6k")),
        ("oxford5k", lambda root: open_benchmark(root / "gnd_oxford5k.pkl")),
        ("paris6k", lambda root: convert(root / "paris6k")),
        ("retrieval-SfM-120k", open_sfm120k),
    ],
)
def test_everyone_says_the_same_of_a_set_that_is_missing(
    tmp_path: Path, name: str, ask: Callable[[Path], object]
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        ask(tmp_path)
    message, known = str(refusal.value), KNOWN[name]
    where = re.search(r"there is no \S+ in (.+?)\. Nothing is downloaded", message)
    assert where is not None
    assert message == str(missing_set(Path(where[1]), name))
    assert all(part in message for part in (known.title, known.index_file, known.holds, *known.download))
    assert "student-trainer datasets" in message


def test_a_folder_of_no_known_name_is_told_what_a_benchmark_needs(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no ground truth in .*mine: a folder with gnd_NAME\.pkl"):
        open_benchmark(tmp_path / "mine")


def test_the_catalogue_says_of_every_set_what_to_get_and_how_many_images_it_holds() -> None:
    for name, known in KNOWN.items():
        assert known.name == name
        assert known.download
        assert f"{known.images:,}" in known.holds or name == "retrieval-SfM-120k"
    assert KNOWN["retrieval-SfM-120k"].images == 91_642 + 6_403


def test_the_two_protocols_share_the_photographs_of_a_city_and_nobody_else_does() -> None:
    cities = {"roxford5k": "Oxford", "oxford5k": "Oxford", "rparis6k": "Paris", "paris6k": "Paris"}
    for one in (*KNOWN, "mine"):
        assert photographs_of(one) == cities.get(one, one)
        for other in (*KNOWN, "mine"):
            same = one == other or (one in cities and cities[one] == cities.get(other))
            assert same_photographs(one, other) == same


def test_each_benchmark_is_found_in_the_other_protocol_and_its_own() -> None:
    for new, old in (("roxford5k", "oxford5k"), ("rparis6k", "paris6k")):
        assert (in_protocol(new, "old"), in_protocol(old, "revisited")) == (old, new)
        assert (in_protocol(new, "revisited"), in_protocol(old, "old")) == (new, old)
    for name in ("mine", "revisitop1m", "retrieval-SfM-120k"):
        assert {in_protocol(name, protocol) for protocol in ("old", "revisited")} == {name}


def test_the_tables_name_a_benchmark_as_papers_do_and_others_by_their_own() -> None:
    assert [short_name(name) for name in KNOWN] == [
        *("ROxf", "RPar", "Oxf", "Par"),
        *("revisitop1m", "retrieval-SfM-120k"),
    ]
    assert short_name("mine") == "mine"
