"""Which cells are done, and about how long the others will take.

In: tasks, and the folder of the cells. Out: text, or plain JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from student_trainer.distil.course import course
from student_trainer.distil.preflight import unfitted_objective
from student_trainer.reproduce.workers import FAILURE
from student_trainer.trials.cells import Task
from student_trainer.trials.making import Trained


@dataclass(frozen=True)
class Entry:
    """One cell."""

    cell: str
    rows: str
    """That it is for."""
    state: str
    """``done``, ``failed``, ``begun`` or ``waiting``."""
    images_to_see: int
    """Of its whole training."""
    seconds: float | None
    """That it took; None where it is not done."""


@dataclass(frozen=True)
class Listing:
    """All cells of a run."""

    entries: tuple[Entry, ...]
    seconds_left: float | None
    """Estimated; None before the first training is done."""

    @property
    def done(self) -> int:
        """Cells."""
        return sum(entry.state == "done" for entry in self.entries)

    def document(self) -> dict[str, Any]:
        """Plain JSON."""
        cells = [
            {"cell": entry.cell, "rows": entry.rows, "state": entry.state, "seconds": entry.seconds}
            for entry in self.entries
        ]
        return {"cells": cells, "done": self.done, "seconds_left": self.seconds_left}

    def text(self) -> str:
        """For people."""
        lines = [
            f"{entry.state:<8} {entry.cell}  {entry.rows}"
            + ("" if entry.seconds is None else f"  {entry.seconds:,.0f} s")
            for entry in self.entries
        ]
        waiting = len(self.entries) - self.done
        left = "nothing is left" if not waiting else "time left is known when a training is done"
        if waiting and self.seconds_left is not None:
            left = f"about {_duration(self.seconds_left)} left"
        return "\n".join([*lines, f"{self.done} of {len(self.entries)} cells done; {left}."])


def listing(tasks: Sequence[Task], root: Path, jobs: int, names: Mapping[str, str]) -> Listing:
    """Look at every cell. The estimate: trainings take as long for an image seen as those that are done.

    Args:
        tasks: what is to be run.
        root: folder of the cells.
        jobs: cells at a time.
        names: cell -> the rows that it is for.
    """
    entries = tuple(_entry(task, root, names[task.making.name]) for task in tasks)
    done = [entry for entry in entries if entry.seconds is not None]
    waiting = [entry for entry in entries if entry.seconds is None]
    trained = [entry for entry in done if entry.images_to_see]
    if not waiting:
        return Listing(entries, 0.0)
    if not trained:
        return Listing(entries, None)
    measuring_s = fmean(_measuring_s(task, root) for task in tasks if not task.unmeasured(root))
    seen = sum(entry.images_to_see for entry in trained)
    each_s = sum(entry.seconds or 0.0 for entry in trained) / seen
    left_s = sum(each_s * entry.images_to_see + measuring_s * (not entry.images_to_see) for entry in waiting)
    return Listing(entries, left_s / jobs)


def _entry(task: Task, root: Path, rows: str) -> Entry:
    folder = task.folder(root)
    cells = [task.finished(root, measure) for measure in task.measures]
    done = [cell for cell in cells if cell is not None]
    if len(done) == len(cells):
        seconds = done[0].seconds + sum(cell.measuring_seconds for cell in done)
        return Entry(folder.name, rows, "done", _images_to_see(task), seconds)
    state = "failed" if (folder / FAILURE).is_file() else "begun" if folder.is_dir() else "waiting"
    return Entry(folder.name, rows, state, _images_to_see(task), None)


def _images_to_see(task: Task) -> int:
    if not isinstance(task.making, Trained):
        return 0
    recipe = task.making.recipe
    schedule = course(recipe, unfitted_objective(recipe), task.making.data)
    return schedule.images_seen(schedule.total_steps)


def _measuring_s(task: Task, root: Path) -> float:
    cells = [task.finished(root, measure) for measure in task.measures]
    return sum(cell.measuring_seconds for cell in cells if cell is not None)


def _duration(seconds: float) -> str:
    """``2 h 5 min``, ``7 min``, ``40 s``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
