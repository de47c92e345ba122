"""Tables as they are written: what comes with the package, rows for every combination, refusals."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from student_trainer.distil.preflight import unfitted_objective
from student_trainer.errors import InvalidInput
from student_trainer.recipe import changed, load
from student_trainer.reproduce.definition import parse_table, read_table, shipped_tables

Write = Callable[[str], Path]


@pytest.mark.parametrize("name", shipped_tables())
def test_every_row_of_a_shipped_table_can_be_trained_with_the_paper_s_recipe(name: str) -> None:
    table = read_table(name)
    for row in table.rows:
        recipe = load(row.recipe) if row.recipe else load("paper-resnet34")
        objective = unfitted_objective(changed(recipe, row.set) if row.set else recipe)
        assert objective.needs_labels == (row.learns_from != "teacher")
    assert table.title
    assert "{" not in "".join(claim.says for claim in table.claims)


def test_the_shipped_tables_are_the_paper_s_and_three_of_ours() -> None:
    assert shipped_tables() == [
        "figure1",
        "methods",
        "mixing",
        "selection",
        *(f"table{number}" for number in range(1, 8)),
    ]


@pytest.mark.parametrize(
    ("table", "row", "student", "column", "number"),
    [
        ("table1", "student", "mobilenet_v2-320", "ms an image", 10),
        ("table2", "ours", "resnet34", "ROxf M", 55.1),
        ("table2", "contrastive", "mobilenet_v2-320", "Oxf", 74.5),
        ("table2", "teacher", "resnet101", "RPar H", 44.8),
        ("table3", "ours", "resnet34", "ROxf H mP@10", 46.3),
        ("table4", "no-aug-8000", "resnet34", "RPar M", 67.6),
        ("table4", "ours-2000", "resnet34", "ROxf H", 25.3),
        ("table5", "mac", "resnet34", "RPar M", 67.1),
        ("table6", "all-grad", "resnet34", "RPar H", 37.6),
        ("table7", "no-ml-tau-0.5", "resnet34", "ROxf E", 57.1),
    ],
)
def test_the_paper_s_numbers_stand_in_their_places(
    table: str, row: str, student: str, column: str, number: float
) -> None:
    read = read_table(table)
    assert read.row(row).paper[student][read.paper_columns.index(column)] == number


def test_each_makes_a_row_for_every_combination(own_table: Write) -> None:
    table = read_table(
        str(
            own_table(
                """
                title = "Own"
                paper_columns = ["mAP"]
                [[row]]
                id = "base-{images}"
                each.images = [20, 40]
                set = ["objective.name=rank"]
                [[row]]
                id = "mix-{images}-{alpha}"
                name = "alpha {alpha}, {images} images"
                each.images = [20, 40]
                each.alpha = [0.5, 1]
                set = ["objective.alpha={alpha}", "training.seed=3"]
                against = "base-{images}"
                paper.resnet34 = [[1], [2], [3], [4]]
                [[claim]]
                says = "at {images}"
                better = "mix-{images}-1"
                than = "base-{images}"
                each.images = [20, 40]
                """
            )
        )
    )
    assert [row.id for row in table.rows] == [
        "base-20", "base-40", "mix-20-0.5", "mix-20-1", "mix-40-0.5", "mix-40-1",
    ]  # fmt: skip
    row = table.row("mix-40-0.5")
    assert (row.images, row.against, row.group) == (40, "base-40", "mix-{images}-{alpha}")
    assert row.title == "alpha 0.5, {images} images"  # how many there are is known only later
    assert row.set == ("objective.alpha=0.5", "training.seed=3")
    assert row.paper == {"resnet34": (3,)}
    assert [claim.says for claim in table.claims] == ["at 20", "at 40"]


ROW = 'title = "Own"\n[[row]]\nid = "a"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title = ", "is not TOML"),
        ('title = "Own"', "row"),
        (ROW + ROW.replace('title = "Own"', ""), "two rows have the id 'a'"),
        (ROW + '[[claim]]\nsays = "x"\nbetter = "a"\nthan = "aa"', "no row 'aa'. Did you mean 'a'?"),
        (ROW + 'against = "none"', "there is no row 'none'"),
        (ROW + "paper.resnet34 = [1]", "not one number of the paper for each"),
        (
            ROW + 'each.tau = [1, 2]\nset = ["objective.alpha={alpha}"]',
            "'alpha', which its 'each' does not list",
        ),
        (ROW + "each.tau = 1", "does not give a list of values"),
        (
            'title = "Own"\npaper_columns = ["x"]\n[[row]]\nid = "a{n}"\neach.n = [1, 2]\npaper.x = [[1]]',
            "1 lists",
        ),
        (ROW + 'sett = ["x"]', "row 1: sett is unknown; known here: id, name"),
        (ROW + '[[plot]]\nx = "images"\nlines.b = "b"', "no rows have the group 'b'"),
        ('title = "Own"\nrow = 3', r"write [[row]]"),
        (ROW + 'network = "other"', "row 1: network = 'other'"),
    ],
)
def test_what_does_not_hold_together_is_refused(own_table: Write, text: str, complaint: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_table(str(own_table(text)))
    assert complaint in str(refusal.value)


def test_the_table_that_the_document_shows_is_one(own_table: Write) -> None:
    text = (Path(__file__).parents[3] / "docs" / "reproducing.md").read_text()
    [example] = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(read_table(str(own_table(example))).rows) == 6


def test_a_table_that_is_not_there_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InvalidInput, match=r"no table 'tabel2'.*figure1, methods, mixing, .*mean 'table2'"):
        read_table("tabel2")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"selection": "k-centre"}, r"no selection 'k-centre'.*Did you mean 'k-center'"),
        ({"selection": "density", "sparse": 3}, r"both sparse and selection"),
    ],
)
def test_a_selection_must_be_known_and_stand_alone(row: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_table({"title": "Own", "row": [{"id": "one", **row}]}, "own")
