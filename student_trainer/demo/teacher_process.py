"""The teacher service as the demo uses it: a separate process, started by its own command.

In: the arguments of ``teacher-service serve``. Out: a running service with its address and public key,
an API key for it, and in any case the end of the process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from student_trainer.errors import ServiceRefused

STOP_WITHIN_S = 60.0


@dataclass(frozen=True)
class RunningTeacher:
    """What the service says of itself when it is ready."""

    address: str
    public_key: str
    teacher_revision: str


def program() -> Path:
    """The ``teacher-service`` command of the environment that runs this.

    Raises:
        ServiceRefused: it is not installed there.
    """
    path = Path(sys.executable).parent / "teacher-service"
    if not path.is_file():
        raise ServiceRefused(f"There is no {path}: install the package into this environment.")
    return path


@contextmanager
def running_teacher(arguments: Sequence[str], log: Path) -> Iterator[RunningTeacher]:
    """Serve while the block runs; then stop the service in order, or end it.

    Args:
        arguments: of ``teacher-service serve``.
        log: the service's standard error goes here.

    Raises:
        ServiceRefused: it did not start; the message ends with its last words.
    """
    command = [str(program()), "serve", *arguments, "--json"]
    with (
        log.open("wb") as errors,
        # In a session of its own: a Ctrl-C on the terminal reaches the demo, which then stops the service.
        subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True, env=_environment()
        ) as process,
    ):
        try:
            yield _announced(process, log)
        finally:
            _stop(process)


def create_key(data_dir: Path, name: str, budget: int) -> str:
    """A new API key with a hard budget, made by the command that its owner would use."""
    command = [str(program()), "keys", "create", name, "--budget", str(budget), "--data-dir", str(data_dir)]
    made = subprocess.run(  # noqa: S603
        [*command, "--json"], capture_output=True, text=True, check=False, env=_environment()
    )
    if made.returncode:
        raise ServiceRefused(f"No API key could be made: {made.stderr.strip()}")
    key: str = json.loads(made.stdout)["key"]
    return key


def keep_key(key: str, path: Path) -> None:
    """Keep an API key for a demo that is continued, readable by its owner only."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(key)


def _environment() -> dict[str, str]:
    """The user's, without the settings of a service of their own: its ledger is no place for a demo's key."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TEACHER_")}


def _announced(process: "subprocess.Popen[bytes]", log: Path) -> RunningTeacher:
    """Wait for the line that the service prints when it listens; it ends if the process does."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise ServiceRefused(f"The teacher service did not start: {words[-1] if words else 'no message'}")
    facts = json.loads(line)
    return RunningTeacher(facts["address"], facts["public_key"], facts["teacher_revision"])


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except BaseException:  # too slow, or a second Ctrl-C: leave no orphan
        process.kill()
        raise
