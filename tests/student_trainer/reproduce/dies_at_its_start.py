"""Three cells, two at a time; the first process dies before it has read what it is to do. Run by a test."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from not_a_network import Making, Measure

from student_trainer.reproduce.workers import FAILURE, run_all
from student_trainer.trials.cells import Task

ROOT = Path(sys.argv[1])
if __name__ == "__mp_main__":  # imported by a process that begins
    try:
        (ROOT / "a process died").touch(exist_ok=False)
    except FileExistsError:
        pass
    else:
        os._exit(9)


@dataclass(frozen=True)
class Large(Making):
    """More than a pipe takes."""

    ballast: bytes = bytes(1_000_000)


if __name__ == "__main__":
    tasks = [Task(Large(name), (Measure(),)) for name in ("first", "second", "third")]
    tasks[0].folder(ROOT).mkdir()
    (tasks[0].folder(ROOT) / FAILURE).write_text("what an earlier run failed of")
    for failure in run_all(tasks, ROOT, 2, lambda line: None):
        print(f"{failure.cell}: {failure.reason}")
