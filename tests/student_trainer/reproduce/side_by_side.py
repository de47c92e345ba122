"""Three cells, two at a time: one whose process dies, one that never ends, one that works. Run by a test."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from not_a_network import Making, Measure

from student_trainer.reproduce.workers import run_all
from student_trainer.run_folder import RunFolder
from student_trainer.trials.cells import Outcome, Task


@dataclass(frozen=True)
class Various(Making):
    """One that dies, one that never ends, one that works, by its name."""

    def make(self, folder: RunFolder) -> Outcome:
        (folder.root / "pid").write_text(str(os.getpid()))
        if self.name == "dies":
            os._exit(9)
        while self.name == "waits":
            time.sleep(0.05)
        return super().make(folder)


if __name__ == "__main__":
    names = ("dies", "waits", "works")
    told: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)

    run_all([Task(Various(name), (Measure(),)) for name in names], Path(sys.argv[1]), 2, say)
