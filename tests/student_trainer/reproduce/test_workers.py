"""Cells in processes of their own: a death loses no other, and nobody outlives the run."""

import os
import subprocess
import sys
from pathlib import Path

from patience import until

SCRIPT = Path(__file__).with_name("side_by_side.py")
ROOT = Path(__file__).parents[3]


def ended(pid: int) -> bool:
    """Gone, or dead and not yet collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_death_is_told_and_a_killed_run_takes_its_processes_along(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tmp_path)], stdout=subprocess.PIPE, env=environment, text=True
    )
    try:
        until((tmp_path / "waits" / "pid").exists)
        until(lambda: len(list(tmp_path.glob("works/measured-*.json"))) == 1)
        assert (tmp_path / "works" / "made.json").is_file()
        assert not (tmp_path / "dies" / "made.json").exists()
        waiting = int((tmp_path / "waits" / "pid").read_text() or 0)
        assert waiting and not ended(waiting)
    finally:
        run.kill()  # it can end nothing itself any more
        said = run.communicate()[0]
    until(lambda: ended(waiting))
    assert "dies failed: its process ended with code 9 and said nothing; its log: " in said
    assert said.splitlines()[:2] == ["[1/3] dies ...", "[2/3] waits ..."]


def test_a_process_that_dies_before_it_has_its_task_fails_alone(tmp_path: Path) -> None:
    """Whatever the size of the task: a pipe takes 64 KiB before someone has to read."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT.with_name("dies_at_its_start.py")), str(tmp_path)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=60,
        check=True,
    )
    log = tmp_path / "first" / "log.txt"
    assert done.stdout == f"first: its process ended with code 9 and said nothing; its log: {log}\n"
    assert sorted(path.parent.name for path in tmp_path.glob("*/measured-*.json")) == ["second", "third"]
