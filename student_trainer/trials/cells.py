"""One network, from its making to its measures; what is done is never done again.

In: how a network comes about, what measures it, a folder. Out: a :class:`Cell`, and in the folder its
records. A cell that was stopped continues: a training from its last checkpoint, a measuring from the next
measure. Nothing is recorded that was computed with a file which changed after the cell was named by it.

A folder is named by all that decides the network, and each record of a measuring by all that decides its
numbers beside the network. So a curve with more sizes or seeds reuses what is there, tables share the cells
that they have in common, and nothing is mixed up when a recipe, the images or the yardstick change. Once a
cell is measured its weights and decoded images are removed: many cells would fill the disk.
"""

import math
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shared.allocator import give_back_pages
from student_trainer.errors import InvalidInput, TrainingFailed
from student_trainer.recipe import Recipe
from student_trainer.run_folder import RunFolder
from student_trainer.trials.hardware import hardware, versions
from student_trainer.trials.records import Cell, Made, Measured, read_record, write_record


@dataclass(frozen=True)
class Outcome:
    """What a making tells."""

    images: int = 0
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0
    facts: dict[str, float] = field(default_factory=dict)


class Making(Protocol):
    """A way to a network."""

    @property
    def network(self) -> str:
        """``trained``, ``before`` or ``teacher``."""

    @property
    def recipe(self) -> Recipe | None:
        """By which the network comes about; None where it is given."""

    @property
    def seed(self) -> int | None:
        """Which of several that differ by chance; None where there is one only."""

    @property
    def name(self) -> str:
        """Of the cell's folder: by all that decides the network."""

    def require_unchanged(self) -> None:
        """Read again the files that the name speaks of.

        Raises:
            InvalidInput: one holds other bytes by now, or cannot be read.
        """

    def checkpoint(self, folder: RunFolder) -> Path:
        """Where the network is, once it is made."""

    def make(self, folder: RunFolder) -> Outcome:
        """Make it, or continue.

        Raises:
            TrainerError: it cannot be made.
        """


class Measure(Protocol):
    """Numbers of a network."""

    def digest(self) -> str:
        """Of all that decides them beside the checkpoint."""

    def require_unchanged(self) -> None:
        """Read again the files that the digest speaks of.

        Raises:
            InvalidInput: one holds other bytes by now, or cannot be read.
        """

    def measure(self, checkpoint: Path) -> dict[str, float]:
        """The numbers by name.

        Raises:
            InvalidInput: the checkpoint or an image cannot be read.
        """


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
        """The measures that are still to be taken; all, where it is not known how the network was made.

        Raises:
            InvalidInput: a record is of another version.
        """
        folder = self.folder(root)
        if read_record(folder / "made.json", Made) is None:
            return list(self.measures)
        return [measure for measure in self.measures if _measured(folder, measure) is None]

    def finished(self, root: Path, measure: Measure) -> Cell | None:
        """The cell as one of its measures has it; None if that was not taken or a record is damaged.

        Raises:
            InvalidInput: a record is of another version.
        """
        folder = self.folder(root)
        made, measured = read_record(folder / "made.json", Made), _measured(folder, measure)
        if made is None or measured is None:
            return None
        return Cell(
            **made.model_dump(),
            folder=folder.name,
            measures=measured.values,
            measuring_seconds=measured.seconds,
        )


def run(task: Task, root: Path, cache: Path | None = None) -> None:
    """Make the network and take the measures that are missing.

    Args:
        task: what to do.
        root: folder of the cells.
        cache: for decoded images, where the next cell may learn from the same; None keeps none.

    Raises:
        TrainerError: as training and measuring do; the cell continues next time.
        TrainingFailed: a number that was measured is not finite; it is not recorded.
        InvalidInput: a file changed that the cell or a measure is named by; what was computed with it is not
            recorded.
    """
    own = RunFolder.create(task.folder(root))
    folder = own if cache is None else RunFolder(own.root, shared_cache=cache)
    waiting = task.unmeasured(root)
    made = read_record(folder.root / "made.json", Made)
    if made is not None and not waiting:
        return
    records = [_record(folder.root, measure) for measure in waiting]  # named before anything is computed
    task.making.require_unchanged()
    checkpoint = task.making.checkpoint(folder)
    if made is None or not checkpoint.is_file():
        made = _make(task.making, folder)
        try:
            task.making.require_unchanged()
        except InvalidInput:  # it may have begun with the other bytes, and must not continue from them
            _make_room(own, keep_student=False)
            raise
        write_record(folder.root / "made.json", made)
    for measure, record in zip(waiting, records, strict=True):
        started_s = time.monotonic()
        values = _finite(measure.measure(checkpoint), task.making.name)
        measured = Measured(values=values, seconds=time.monotonic() - started_s)
        task.making.require_unchanged()
        measure.require_unchanged()
        write_record(record, measured)
    _make_room(own, keep_student=task.keep)
    give_back_pages()


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


def _finite(values: dict[str, float], cell: str) -> dict[str, float]:
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingFailed(
                f"{name} of {cell} is {value}, which is no measurement, and is not recorded: look at the "
                "images that are measured on, and at the training's losses in the cell's metrics.jsonl."
            )
    return values


def _record(folder: Path, measure: Measure) -> Path:
    return folder / f"measured-{measure.digest()[:12]}.json"


def _measured(folder: Path, measure: Measure) -> Measured | None:
    return read_record(_record(folder, measure), Measured)


def _make_room(folder: RunFolder, *, keep_student: bool) -> None:
    """What is left tells how the cell came about: its recipe, its training curve and its numbers."""
    for rubbish in (folder.checkpoints, folder.cache):
        shutil.rmtree(rubbish, ignore_errors=True)
    beside = () if keep_student else (folder.student, folder.head, folder.learned_images)
    for file in (folder.initial_student, *beside):
        file.unlink(missing_ok=True)
