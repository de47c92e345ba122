"""Records of cells: readable for later versions, refused where they are of another, nothing where broken."""

import json
from pathlib import Path
from typing import Any

import pytest

from student_trainer.errors import InvalidInput, StorageFailed, TrainingFailed
from student_trainer.trials.cells import Task, run
from student_trainer.trials.making import Given
from student_trainer.trials.records import FORMAT, Made, Measured, read_record, write_record

FIRST: dict[str, Any] = {
    "network": "trained",
    "images": 500,
    "seed": 0,
    "epochs": 5,
    "steps": 10,
    "seconds": 74.5,
    "facts": {"tau": 0.7, "alone": 0.1},
    "recipe_digest": "ab" * 32,
    "recipe": {"training": {"epochs": 5}},
    "hardware": "2 cores of a machine, no GPU",
    "versions": {"python": "3.11"},
}
"""As the first version wrote it."""


class Number:
    """A measure."""

    def __init__(self) -> None:
        self.taken = 0

    def digest(self) -> str:
        return "cd" * 32

    def require_unchanged(self) -> None:
        pass

    def measure(self, checkpoint: Path) -> dict[str, float]:
        self.taken += 1
        return {"mAP": 0.5}


def test_the_first_records_are_read_and_written_ones_name_their_format(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    path.write_text(json.dumps(FIRST))
    made = read_record(path, Made)
    assert made == Made(**FIRST)
    assert made is not None
    write_record(path, made)
    assert json.loads(path.read_text()) == {"format": FORMAT, **FIRST}
    assert read_record(path, Made) == made


def test_a_field_of_a_later_version_loses_no_cell(tmp_path: Path) -> None:
    (tmp_path / "teacher").write_bytes(b"a network")
    measure = Number()
    task = Task(Given(tmp_path / "teacher"), (measure,))
    run(task, tmp_path)
    for record in (tmp_path / task.making.name).glob("*.json"):
        record.write_text(json.dumps({**json.loads(record.read_text()), "watts": 40}))
    assert task.unmeasured(tmp_path) == []
    cell = task.finished(tmp_path, measure)
    assert cell is not None and cell.measures == {"mAP": 0.5}
    run(task, tmp_path)
    assert measure.taken == 1


@pytest.mark.parametrize("content", [None, b"", b'{"network": "tra', b"\xff\xfe"])
def test_what_is_not_there_or_broken_is_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "made.json"
    if content is not None:
        path.write_bytes(content)
    assert read_record(path, Made) is None


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({**FIRST, "format": "ration-cell/2"}, "its format is 'ration-cell/2', and this version knows"),
        ({**FIRST, "steps": "many"}, "steps: Input should be a valid integer"),
        ({"values": {}}, "network: Field required"),
        ([FIRST], "its format is 'none'"),
    ],
)
def test_a_record_of_another_version_is_refused_by_its_name(
    tmp_path: Path, document: Any, complaint: str
) -> None:
    path = tmp_path / "made.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInput) as refusal:
        read_record(path, Made)
    assert str(refusal.value).startswith(f"{path} is not a record of a cell ({complaint}")
    assert path.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_measure_that_is_no_number_is_not_recorded(
    tmp_path: Path, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "teacher").write_bytes(b"a network")
    measure = Number()
    monkeypatch.setattr(measure, "measure", lambda checkpoint: {"mAP": value})
    task = Task(Given(tmp_path / "teacher"), (measure,))
    with pytest.raises(TrainingFailed, match=rf"mAP of teacher-\w+ is {value}, which is no measurement"):
        run(task, tmp_path)
    assert task.unmeasured(tmp_path) == [measure]
    assert not list(tmp_path.glob("*/measured-*"))


def test_a_record_that_cannot_be_read_is_a_failure_of_storage(tmp_path: Path) -> None:
    (tmp_path / "measured.json").mkdir()
    with pytest.raises(StorageFailed, match=r"measured\.json cannot be read"):
        read_record(tmp_path / "measured.json", Measured)
