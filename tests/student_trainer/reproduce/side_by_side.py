"""Three cells, two at a time: one whose process dies, one that never ends, one that works. Run by a test."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from student_trainer.recipe import Recipe
from student_trainer.reproduce.workers import run_all
from student_trainer.run_folder import RunFolder
from student_trainer.trials import cells
from student_trainer.trials.cells import Outcome, Task

cells.hardware = lambda: "a machine"  # in every process; to look would load torch, for networks that are none


@dataclass(frozen=True)
class Making:
    """A network that is not one."""

    name: str
    network: str = "trained"
    recipe: Recipe | None = None
    seed: int | None = None

    def require_unchanged(self) -> None:
        pass

    def checkpoint(self, folder: RunFolder) -> Path:
        return folder.root / "checkpoint"

    def make(self, folder: RunFolder) -> Outcome:
        (folder.root / "pid").write_text(str(os.getpid()))
        if self.name == "dies":
            os._exit(9)
        while self.name == "waits":
            time.sleep(0.05)
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
    names = ("dies", "waits", "works")
    told: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)

    run_all([Task(Making(name), (Measure(),)) for name in names], Path(sys.argv[1]), 2, say)
