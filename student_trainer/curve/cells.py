"""One training of the curve, from its subset to its measured quality; a finished one is never run again.

In: a recipe, the rows to learn from, a yardstick, a folder. Out: a :class:`Cell`, and in the folder its
record. A cell that was stopped continues from its last checkpoint.

A cell's folder is named by all that decides its outcome. So a curve with more sizes or seeds reuses what is
there, and one with another recipe or other images cannot mix up results. Once a cell is measured its weights
and decoded images are removed: a curve of many cells would fill the disk.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from shared.digest import digest_of_list
from student_trainer.curve.document import Cell
from student_trainer.curve.files import write_whole
from student_trainer.curve.yardsticks import Measure
from student_trainer.distil.data import TrainingData
from student_trainer.distil.train import train
from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder


@dataclass(frozen=True)
class Task:
    """What a cell trains and how it is measured."""

    recipe: Recipe
    data: TrainingData
    measure: Measure
    measure_before: bool
    """Measure the student before its first step too."""

    def folder(self, root: Path) -> Path:
        """Where it is done, by its size, its seed and the digest of everything else."""
        facts = [self.recipe.digest(), self.data.digest(), self.measure.digest(), str(self.measure_before)]
        seed = self.recipe.training.seed
        return root / f"n{len(self.data):06}-seed{seed}-{digest_of_list(facts)[:12]}"


def finished(task: Task, root: Path) -> Cell | None:
    """The record of a task that was done before; None if it was not, or its record is damaged."""
    try:
        return Cell.model_validate_json((task.folder(root) / "cell.json").read_bytes())
    except (OSError, ValidationError):
        return None


def run(task: Task, root: Path) -> Cell:
    """Train and measure, or continue.

    Raises:
        TrainerError: as :func:`student_trainer.distil.train.train`; the cell continues next time.
    """
    folder = RunFolder.create(task.folder(root))
    outcome = train(task.recipe, task.data, folder)
    measures = task.measure.measure(folder.student)
    before = task.measure.measure(folder.initial_student) if task.measure_before else None
    cell = Cell(
        queries=len(task.data),
        seed=task.recipe.training.seed,
        quality=measures[task.measure.drawn],
        measures=measures,
        before=before[task.measure.drawn] if before else None,
        epochs=outcome.epochs,
        steps=outcome.steps,
    )
    write_whole(folder.root / "cell.json", cell.model_dump_json(indent=1) + "\n")
    _make_room(folder)
    return cell


def _make_room(folder: RunFolder) -> None:
    """What is left tells how the cell came about: its recipe and its training curve."""
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    shutil.rmtree(folder.cache, ignore_errors=True)
    for file in (folder.initial_student, folder.student):
        file.unlink(missing_ok=True)
