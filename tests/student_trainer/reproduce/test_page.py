"""The page: ours beside the paper's, claims with their answers, nothing that a user named unescaped."""

import re
from html.parser import HTMLParser
from pathlib import Path

from made_reproductions import table_of, tables_of
from PIL import Image

from student_trainer.reproduce.definition import Table, parse_table, read_table
from student_trainer.reproduce.page import as_html, as_text, write_page
from student_trainer.reproduce.results import Results, read_results
from student_trainer.reproduce.view import view

TABLE4 = {
    "ours-2000": [0.50, 0.51, 0.52],
    "no-aug-2000": [0.45, 0.46, 0.471],
    "ours-4000": [0.53, 0.54, 0.52],
    "no-aug-4000": [0.53, 0.52, 0.54],
    "ours-8000": [0.55],
}


def cells(markdown: str) -> list[list[str]]:
    """Every row of every table of a Markdown page."""
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_ours_stand_beside_the_paper_s_with_intervals_over_seeds() -> None:
    text = as_text(Results(tables={"table4": table_of(read_table("table4"), TABLE4)}), ["table4"])
    found = {row[0]: row[1:] for row in cells(text)}
    assert found["ours, 2,000 images"] == [
        "2,000", "3", "51.0 [48.5, 53.5]", "+5.0 [+4.8, +5.1]", "54.3", "25.3", "66.4", "40.5",
    ]  # fmt: skip
    assert found["ours, 8,000 images"][:4] == ["8,000", "1 of 3", "55.0", "–"]
    assert found["no-aug, 8,000 images"][1:3] == ["0 of 3", "–"]
    assert found["Mixing beats no mixing (2000 images in the paper)"] == [
        "mAP", "+5.0 [+4.8, +5.1]", "**held**", "ROxf M +5.2, ROxf H +5.3, RPar M 0.0, RPar H +0.5",
    ]  # fmt: skip
    assert found["Mixing beats no mixing (4000 images in the paper)"][2] == "**cannot tell**"
    # Nothing is said of claims whose rows are not measured.
    assert "Mixing beats no mixing (8000 images in the paper)" not in found
    assert "2 tests of claims: 1 held, 1 cannot tell." in text


def test_two_students_share_the_teacher_and_have_each_their_own_of_the_paper_s_numbers() -> None:
    numbers = {
        "resnet34": {"teacher": 0.6, "ours": [0.5, 0.51], "no-aug": [0.49, 0.5]},
        "mobilenet_v2-320": {"ours": [0.4, 0.41], "no-aug": [0.41, 0.4201]},
    }
    text = as_text(Results(tables={"t": tables_of(read_table("table2"), numbers)}), ["t"])
    found = {row[0]: row[1:] for row in cells(text)}
    assert found["teacher"][3:5] == ["60.0", "81.2"]
    assert found["ours, resnet34"][4] == "78.1"
    assert found["ours, mobilenet_v2-320"][4] == "78.7"
    assert found["The student stays below its teacher (mobilenet_v2-320)"][1] == "+19.5 [+13.1, +25.9]"
    assert found["Mixing beats no mixing (mobilenet_v2-320)"][2] == "**not held**"


def test_numbers_of_another_student_of_the_paper_are_called_so() -> None:
    table = table_of(read_table("table6"), {"ours": [0.4, 0.5]}, student="mobilenet_v2-320")
    assert view(table).paper_note == "The paper's numbers are those of its resnet34 student."
    assert view(table_of(read_table("table6"), {"ours": [0.4, 0.5]})).paper_note == ""


def own(**more: object) -> Table:
    row = {"id": "a<b>", "name": "<script>alert(1)</script> | $x$", "each": {"images": [10, 20]}}
    rows = {
        "row": [{**row, "id": "a<b>{images}"}],
        "plot": [{"x": "images", "lines": {"a<b>{images}": "<i>$"}}],
    }
    return parse_table({"title": "T & <b>", **rows, **more}, "own")


def test_the_page_escapes_what_users_named_and_loads_nothing() -> None:
    made = table_of(own(), {"a<b>10": [0.1, 0.2], "a<b>20": [0.2, 0.3]}, **{"n1": "<img src=x>"})
    page = as_html([view(made)])
    assert "<script" not in page and "<img" not in page and "<b>" not in page and "<i>" not in page
    assert "T &amp; &lt;b&gt;" in page
    assert "&lt;img src=x&gt;" in page
    assert page.count("<svg") == 1
    assert not re.search(r"(src|href)=\"(?!#)", page)
    HTMLParser().feed(page)


def test_a_table_that_nothing_is_measured_of_yet_has_a_page_too() -> None:
    page = as_html([view(table_of(read_table(name), {})) for name in ("table1", "table2", "mixing")])
    assert "Nothing that a claim could be tested on is measured yet." in page
    assert "<svg" not in page


def test_the_markdown_names_figures_that_are_there_and_the_results_are_read_back(tmp_path: Path) -> None:
    results = Results(tables={"table4": table_of(read_table("table4"), TABLE4)})
    results.write(tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == results
    write_page(results, tmp_path)
    text = (tmp_path / "reproduce.md").read_text()
    [(description, path)] = re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", text)
    assert "ours 51.0 at 2000" in description
    assert Image.open(tmp_path / path).size == (1000, 640)
    assert "ours 51.0 at 2000" in (tmp_path / "reproduce.html").read_text()


def test_what_two_tables_share_is_said_once() -> None:
    tables = {name: table_of(read_table(name), {}) for name in ("table5", "table6")}
    text = as_text(Results(tables=tables), list(tables))
    assert text.count("Made for a test.") == 1
    assert "Setting and command as in Pooling of the student (Table 5 of the paper)." in text
