"""The training curve holds every step once, however often training was killed and continued."""

import json
from pathlib import Path

import pytest
from full_disk import disk_full_at

from student_trainer.distil.log.metrics import MetricsLog


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_events_are_appended_as_lines_of_json(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "m.jsonl", 0) as log:
        log.write("step", {"step": 1, "loss": 0.5})
        on_disk_at_once = (tmp_path / "m.jsonl").read_text()
        log.sync()
    assert json.loads(on_disk_at_once) == {"event": "step", "step": 1, "loss": 0.5}


def test_what_came_after_the_checkpoint_is_taken_out_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with MetricsLog(path, 0) as log:
        for step in (1, 2, 3):
            log.write("step", {"step": step})
    with MetricsLog(path, 2) as log:
        log.write("step", {"step": 3})
        log.write("step", {"step": 4})
    assert steps(path) == [1, 2, 3, 4]


def test_a_line_cut_by_a_crash_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"event": "step", "step": 1}\n{"event": "st')
    with MetricsLog(path, 1) as log:
        log.write("step", {"step": 2})
    assert steps(path) == [1, 2]


def test_starting_over_starts_an_empty_curve(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"event": "threshold", "step": 0}\n{"event": "step", "step": 1}\n')
    with MetricsLog(path, 0):
        pass
    assert path.read_text() == ""


def test_a_disk_that_is_full_leaves_the_curve_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with MetricsLog(path, 0) as log:
        for step in range(1, 101):
            log.write("step", {"step": step})
    before = path.read_bytes()
    with disk_full_at(1_000), pytest.raises(OSError, match="File too large"):
        MetricsLog(path, 90)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
