"""What tests start ends with them, however they end."""

import signal
import subprocess
import sys
from pathlib import Path

import lifeline
import pytest

TESTS = Path(__file__).parent

STARTED = """
import lifeline, threading
thread = threading.Thread(target=lifeline.start, args=(["sleep", "600"],))
thread.start()
thread.join()
print("started", flush=True)
threading.Event().wait()
"""
FORKED = """
import lifeline, os, threading
parent = os.getpid()
if os.fork() == 0:
    lifeline.die_with_parent(parent)
    print("started", flush=True)
threading.Event().wait()
"""

linux_alone = pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a process")


@linux_alone
@pytest.mark.parametrize("script", [STARTED, FORKED])
def test_what_a_killed_process_started_dies_with_it(script: str) -> None:
    """Both write to one pipe, which ends when the last of them is gone."""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=TESTS, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGKILL)
        assert process.stdout.read() == ""


@linux_alone
def test_what_is_started_by_a_parent_that_is_gone_does_not_begin() -> None:
    not_its_parent = "1"
    command = [sys.executable, lifeline.__file__, not_its_parent, "echo", "alive"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


def test_a_command_is_run_as_it_is_and_has_the_pid_that_popen_tells() -> None:
    command = ["sh", "-c", 'echo $$ "$0" "$1"', "a b", "c"]
    process = lifeline.start(command, stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=30)
    assert out == f"{process.pid} a b c\n"
