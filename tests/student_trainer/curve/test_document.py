"""``curve.json`` and ``curve.csv``: written whole, read back, and refused when they are something else."""

import csv
from pathlib import Path

import pytest
from made_curves import curve_of

from student_trainer.curve.document import read_curve
from student_trainer.errors import InvalidInput


def test_what_is_written_is_read_back_and_the_table_holds_every_cell(tmp_path: Path) -> None:
    curve = curve_of({20: [0.4, 0.5], 40: [0.6, 0.7]})
    curve.write(tmp_path / "curve" / "curve.json")
    assert read_curve(tmp_path / "curve" / "curve.json") == curve
    rows = list(csv.DictReader((tmp_path / "curve" / "curve.csv").open()))
    assert [(row["queries"], row["seed"], row["AP"]) for row in rows] == [
        ("20", "0", "0.4"),
        ("20", "1", "0.5"),
        ("40", "0", "0.6"),
        ("40", "1", "0.7"),
    ]
    assert (curve.sizes, curve.qualities(40)) == ([20, 40], {0: 0.6, 1: 0.7})


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "curve.json").write_text("{}")
    with pytest.raises(InvalidInput, match="is not a curve"):
        read_curve(tmp_path / "curve.json")
