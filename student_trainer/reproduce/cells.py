"""One network of a table, from its making to its measures; what is done is never done again.

In: how a network comes about, what measures it, a folder. Out: a :class:`Cell`, and in the folder its
records. A cell that was stopped continues: a training from its last checkpoint, a measuring from the next
measure.

A folder is named by all that decides the network, and each record of a measuring by all that decides its
numbers beside the network. So tables share the cells that they have in common, and nothing is mixed up when a
recipe, the images or the yardstick change.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from student_trainer.curve.files import write_whole
from student_trainer.reproduce.hardware import hardware, versions
from student_trainer.reproduce.making import Making
from student_trainer.reproduce.measures import Measure
from student_trainer.run_folder import RunFolder


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Readable = TypeVar("Readable", bound=_Record)


class Made(_Record):
    """How a network came about; left in its folder when its weights are gone."""

    network: str
    images: int
    """Learned from."""
    seed: int | None
    epochs: int
    steps: int
    seconds: float
    """Of its steps and of what precedes them, interruptions left out."""
    facts: dict[str, float]
    """What was found out about the images, such as ``tau`` and the share that is ``alone`` above it."""
    recipe_digest: str | None
    recipe: dict[str, Any] | None
    hardware: str
    versions: dict[str, str]


class Measured(_Record):
    """What one measure found."""

    values: dict[str, float]
    seconds: float


class Cell(Made):
    """Both together, as ``results.json`` has it."""

    folder: str
    measures: dict[str, float]
    measuring_seconds: float


@dataclass(frozen=True)
class Task:
    """What a cell makes, and what measures it."""

    making: Making
    measures: tuple[Measure, ...]
    keep: bool = False
    """Keep the weights, so that another measure needs no new training."""

    def folder(self, root: Path) -> Path:
        """Where it is done."""
        return root / self.making.name

    def unmeasured(self, root: Path) -> list[Measure]:
        """The measures that are still to be taken."""
        folder = self.folder(root)
        return [measure for measure in self.measures if _measured(folder, measure) is None]

    def finished(self, root: Path, measure: Measure) -> Cell | None:
        """The cell as one of its measures has it; None if that was not taken or a record is damaged."""
        folder = self.folder(root)
        made, measured = _read(folder / "made.json", Made), _measured(folder, measure)
        if made is None or measured is None:
            return None
        return Cell(
            **made.model_dump(),
            folder=folder.name,
            measures=measured.values,
            measuring_seconds=measured.seconds,
        )


def run(task: Task, root: Path) -> None:
    """Make the network and take the measures that are missing.

    Raises:
        TrainerError: as training and measuring do; the cell continues next time.
    """
    folder = RunFolder.create(task.folder(root))
    waiting = task.unmeasured(root)
    made = _read(folder.root / "made.json", Made)
    if made is not None and not waiting:
        return
    checkpoint = task.making.checkpoint(folder)
    if made is None or not checkpoint.is_file():
        made = _make(task.making, folder)
        write_whole(folder.root / "made.json", made.model_dump_json(indent=1) + "\n")
    for measure in waiting:
        started_s = time.monotonic()
        values = measure.measure(checkpoint)
        measured = Measured(values=values, seconds=time.monotonic() - started_s)
        write_whole(_record(folder.root, measure), measured.model_dump_json(indent=1) + "\n")
    _make_room(folder, keep_student=task.keep)


def _make(making: Making, folder: RunFolder) -> Made:
    outcome = making.make(folder)
    recipe = making.recipe
    return Made(
        network=making.network,
        images=outcome.images,
        seed=making.seed,
        epochs=outcome.epochs,
        steps=outcome.steps,
        seconds=outcome.seconds,
        facts=outcome.facts,
        recipe_digest=recipe.digest() if recipe else None,
        recipe=recipe.model_dump(mode="json") if recipe else None,
        hardware=hardware(),
        versions=versions(),
    )


def _record(folder: Path, measure: Measure) -> Path:
    return folder / f"measured-{measure.digest()[:12]}.json"


def _measured(folder: Path, measure: Measure) -> Measured | None:
    return _read(_record(folder, measure), Measured)


def _read(path: Path, kind: type[Readable]) -> Readable | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _make_room(folder: RunFolder, *, keep_student: bool) -> None:
    """What is left tells how the cell came about: its recipe, its training curve and its numbers."""
    for rubbish in (folder.checkpoints, folder.cache):
        shutil.rmtree(rubbish, ignore_errors=True)
    for file in (folder.initial_student, *(() if keep_student else (folder.student,))):
        file.unlink(missing_ok=True)
