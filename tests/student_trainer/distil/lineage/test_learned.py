"""What a student learned from is kept beside it by name, and a file that says something else is refused."""

from pathlib import Path

import pytest

from student_trainer.distil.lineage.learned import IMAGES, LABELS, Inherited, Kind, Learned, keep, read
from student_trainer.errors import InvalidInput


@pytest.mark.parametrize("kind", [LABELS, IMAGES])
@pytest.mark.parametrize(
    "learned",
    [
        Learned(("arch", "dome")),
        Learned(),
        Learned(("10", "9"), Inherited(frozenset({"tower", "ü"}), complete=True)),
        Learned((), Inherited(frozenset({"arch"}))),
    ],
)
def test_what_was_written_comes_back(tmp_path: Path, kind: Kind, learned: Learned) -> None:
    keep(tmp_path / "learned.json", kind, learned)
    assert read(tmp_path / "learned.json", kind) == learned
    assert [path.name for path in tmp_path.iterdir()] == ["learned.json"]


def test_without_a_start_the_file_has_nothing_of_one(tmp_path: Path) -> None:
    keep(tmp_path / "learned.json", LABELS, Learned(("arch", "dome")))
    expected = '{\n "format": "ration-learned-labels/1",\n "labels": [\n  "arch",\n  "dome"\n ]\n}'
    assert (tmp_path / "learned.json").read_text() == expected


def test_a_student_hands_on_what_it_learned_itself_and_inherited() -> None:
    assert Learned(("a",)).handed_on() == Inherited(frozenset({"a"}), complete=True)
    assert Learned(("a",), Inherited(frozenset({"b"}))).handed_on() == Inherited(frozenset({"a", "b"}))


def test_no_file_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "learned.json", LABELS) is None


FORMAT = '"format": "ration-learned-labels/1"'


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"format": "other", "labels": []}',
        '{"format": "ration-learned-images/1", "images": []}',
        "{" + FORMAT + ', "labels": "x"}',
        "{" + FORMAT + "}",
        "{" + FORMAT + ', "labels": [["arch"]]}',
        "{" + FORMAT + ', "labels": [3]}',
        "{" + FORMAT + ', "labels": ["arch"], "of_start": null}',
        "{" + FORMAT + ', "labels": ["arch"], "of_start": [["dome"]]}',
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "learned.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"learned\.json .*Remove it, or train again"):
        read(tmp_path / "learned.json", LABELS)
