"""What every objective says of itself: stated in full, and the same as the tables of the documentation."""

import re
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from student_trainer.acquire.public_pipelines import PIPELINES, WHITE_BOX
from student_trainer.distil.objectives import OBJECTIVES, Facts, get

METHODS = Path(__file__).parents[4] / "docs" / "methods.md"
Row = dict[str, str]


def tables() -> Iterator[list[Row]]:
    """The tables of the document, each row by the titles of its columns."""
    for block in re.findall(r"(?:^\|.*\|\n)+", METHODS.read_text(encoding="utf-8"), flags=re.MULTILINE):
        titles, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines())
        yield [dict(zip(titles, row, strict=True)) for row in rows]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([a-z+-]+)`", cell)


def says_yes(cell: str, name: str) -> bool:
    """Of a cell that may speak of several objectives: yes, no, or of which it is so."""
    words = names_in(cell)
    return any(name.startswith(word) for word in words) if words else cell.split(",", maxsplit=1)[0] == "yes"


FRONT, *OTHERS = tables()
FAMILY = {name: row for row in FRONT for name in names_in(row["objectives"])}
DETAILS = [(name, row) for rows in OTHERS for row in rows if "name" in row for name in names_in(row["name"])]


def test_every_objective_is_in_the_front_table_and_has_a_pipeline_or_is_known_to_have_none() -> None:
    listed = [name for row in FRONT for name in names_in(row["objectives"])]
    assert sorted(listed) == sorted(OBJECTIVES) == sorted(PIPELINES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_facts_of_an_objective_are_those_of_the_front_table(name: str) -> None:
    row = FAMILY[name]
    codes = row["family"] == "codes"
    assert asdict(get(name)().facts) == {
        "name": name,
        "needs_labels": row["labels"] != "no",
        "needs_teacher": row["teacher"] == "descriptors",
        "needs_white_box": row["teacher"] == "**white box**",
        "in_teachers_space": says_yes(row["the student may ask the teacher's database"], name),
        "learns_unlabelled": row["labels"] == "some",
        "takes_several_labels": codes,
        "wants_classes": codes and any("`classes`" in row["settings (default)"] for row in _of(name)),
    }


def _of(name: str) -> list[Row]:
    return [row for found, row in DETAILS if found == name]


@pytest.mark.parametrize(("name", "row"), DETAILS)
def test_the_facts_of_an_objective_are_those_of_the_table_of_its_section(name: str, row: Row) -> None:
    facts = OBJECTIVES[name].facts
    if "in the teacher's space" in row and row.get("teacher") != "**white box**":
        assert facts.in_teachers_space is says_yes(row["in the teacher's space"], name)
    if "labels" in row:
        assert facts.needs_labels is (row["labels"] != "no")
        assert facts.needs_white_box is (row["teacher"] == "**white box**")
        assert facts.needs_teacher is (says_yes(row["teacher"], name))


def test_the_white_boxes_of_a_plan_are_those_that_say_so() -> None:
    assert {name for name, kind in OBJECTIVES.items() if kind.facts.needs_white_box} == set(WHITE_BOX)


@pytest.mark.parametrize("left_out", [field.name for field in fields(Facts)])
def test_a_fact_that_is_missing_or_misspelt_is_an_error(left_out: str) -> None:
    facts = asdict(OBJECTIVES["rank"].facts)
    value = facts.pop(left_out)
    with pytest.raises(TypeError, match=left_out):
        Facts(**facts)
    with pytest.raises(TypeError, match=f"{left_out}x"):
        Facts(**facts, **{left_out: value, f"{left_out}x": value})
