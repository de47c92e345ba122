"""A cell without a network, for scripts that tests run: what is tried is the processes around it."""

from dataclasses import dataclass
from pathlib import Path

from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder
from student_trainer.trials import cells
from student_trainer.trials.cells import Outcome

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
