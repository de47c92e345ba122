"""Three cells, two at a time; the first process dies before it has read what it is to do. Run by a test."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from student_trainer.recipe import Recipe
from student_trainer.reproduce.workers import FAILURE, run_all
from student_trainer.run_folder import RunFolder
from student_trainer.trials import cells
from student_trainer.trials.cells import Outcome, Task

cells.hardware = lambda: "a machine"  # in every process; to look would load torch, for networks that are none
ROOT = Path(sys.argv[1])
if __name__ == "__mp_main__":  # imported by a process that begins
    try:
        (ROOT / "a process died").touch(exist_ok=False)
    except FileExistsError:
        pass
    else:
        os._exit(9)


@dataclass(frozen=True)
class Making:
    """A network that is not one, and more than a pipe takes."""

    name: str
    network: str = "trained"
    recipe: Recipe | None = None
    seed: int | None = None
    ballast: bytes = bytes(1_000_000)

    def require_unchanged(self) -> None:
        pass

    def checkpoint(self, folder: RunFolder) -> Path:
        return folder.root / "checkpoint"

    def make(self, folder: RunFolder) -> Outcome:
        return Outcome(images=3)


@dataclass(frozen=True)
class Measure:
    """A number."""

    def digest(self) -> str:
        return "ab" * 32

    def require_unchanged(self) -> None:
        pass

    def measure(self, checkpoint: Path) -> dict[str, float]:
        return {"mAP": 0.5}


if __name__ == "__main__":
    tasks = [Task(Making(name), (Measure(),)) for name in ("first", "second", "third")]
    tasks[0].folder(ROOT).mkdir()
    (tasks[0].folder(ROOT) / FAILURE).write_text("what an earlier run failed of")
    for failure in run_all(tasks, ROOT, 2, lambda line: None):
        print(f"{failure.cell}: {failure.reason}")
