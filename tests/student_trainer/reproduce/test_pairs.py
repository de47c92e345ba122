"""Ours and the paper's numbers of a measure stand together, in the paper's order."""

from made_reproductions import table_of

from student_trainer.reproduce.columns import Column
from student_trainer.reproduce.definition import read_table
from student_trainer.reproduce.page import as_html, as_text
from student_trainer.reproduce.results import Results
from student_trainer.reproduce.view import view

COLUMNS = tuple(
    Column(name, f"mAP (trapezoidal) of {name}", tested=name[-1] in "MH", protocol="mAP, trapezoidal")
    for name in ("ROxf E", "ROxf M", "ROxf H", "RPar E", "RPar M", "RPar H", "Oxf")
)
NUMBERS = {
    row: [{name.name: value + place / 100 for place, name in enumerate(COLUMNS)} for value in values]
    for row, values in {"ours": (0.50, 0.51, 0.53), "no-aug": (0.40, 0.42, 0.41)}.items()
}


def rows(text: str) -> dict[str, list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return {
        cells[0]: cells[1:] for cells in ([c.strip() for c in row.strip("|").split("|")] for row in lines)
    }


def test_each_measure_stands_beside_the_paper_s_in_the_paper_s_order() -> None:
    made = table_of(read_table("table2"), NUMBERS, columns=COLUMNS)
    found = rows(as_text(Results(tables={"table2": made}), ["table2"]))
    assert found["row"][1:3] == ["learns from", "seeds"]
    assert found["row"][3:] == [
        "Oxf (mAP, trapezoidal, %): ours / paper",
        "ROxf E (mAP, trapezoidal, %): ours / paper",
        "ROxf M (mAP, trapezoidal, %): ours / paper",
        "ROxf H (mAP, trapezoidal, %): ours / paper",
        "RPar E (mAP, trapezoidal, %): ours / paper",
        "RPar M (mAP, trapezoidal, %): ours / paper",
        "RPar H (mAP, trapezoidal, %): ours / paper",
        "paper Par",
    ]
    assert found["ours"][3] == "57.3 [53.5, 61.1] / 78.1"
    assert found["ours"][5].endswith("/ 55.1") and found["ours"][-1] == "85.4"
    assert found["student before"][3] == "– / –"


def test_on_benchmarks_a_claim_has_the_paper_s_number_of_its_own_measure_or_a_dash() -> None:
    made = table_of(
        read_table("table4"),
        {"ours-2000": NUMBERS["ours"], "no-aug-2000": NUMBERS["no-aug"]},
        columns=(*COLUMNS, Column("Par", "mAP", protocol="mAP, trapezoidal")),
    )
    told = {claim.column: claim.paper for claim in view(made).claims}
    assert told["ROxf M"] == "+5.2"
    assert told["Par"] == "–"


def test_measures_are_defined_in_the_text_and_on_the_page() -> None:
    made = table_of(read_table("table7"), {"ours": NUMBERS["ours"]}, columns=COLUMNS)
    text, page = as_text(Results(tables={"table7": made}), ["table7"]), as_html([view(made)])
    for told in (
        "ROxf M: mAP (trapezoidal) of ROxf M.",
        "alone: the share of images that have no other above",
    ):
        assert f"- {told}" in text
        assert f"<li>{told}" in page
    assert page.index("<li>ROxf M: mAP") < page.index("<details")
