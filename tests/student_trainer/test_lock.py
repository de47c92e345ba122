"""One program at a time on a run folder, and no lock left behind by one that was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.lock import exclusive
from student_trainer.run_folder import RunFolder

HOLD = """
import sys, pathlib
from student_trainer.lock import exclusive
from student_trainer.run_folder import RunFolder
with exclusive(RunFolder(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_holder_is_named_and_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(InvalidInput, match=rf"\(process {process.pid}\)"), exclusive(RunFolder(tmp_path)):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with exclusive(RunFolder(tmp_path)):
        pass


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(ZeroDivisionError), exclusive(run):
        raise ZeroDivisionError
    with exclusive(run):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_a_folder_that_cannot_hold_the_lock_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="cannot be written"), exclusive(RunFolder(tmp_path / "none")):
        pass
