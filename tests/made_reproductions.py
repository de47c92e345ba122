"""Measured tables with made numbers, for tests of what is said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from student_trainer.reproduce.columns import Column
from student_trainer.reproduce.definition import Row, Table
from student_trainer.reproduce.planning import Line
from student_trainer.reproduce.results import TableResult
from student_trainer.reproduce.settling import Run, line_result, settled
from student_trainer.trials.cells import Measure, Task
from student_trainer.trials.making import Given
from student_trainer.trials.records import Cell

Numbers = Mapping[str, Sequence[float] | float]
"""Row -> mAP of seeds 0, 1, ...; one number for a network without seeds."""
NOWHERE = Path("nowhere")
NEVER_MADE = Given(NOWHERE)


@dataclass(frozen=True)
class Made:
    """A measure that is never taken."""

    columns: tuple[Column, ...] = (Column("mAP", "made up"),)
    sentence: str = "Made numbers."

    def digest(self) -> str:
        return "made"

    def measure(self, checkpoint: object) -> dict[str, float]:
        raise AssertionError("made numbers are not measured")


def table_of(table: Table, numbers: Numbers, student: str = "resnet34", **failures: str) -> TableResult:
    """The table with these numbers; rows that have none are planned and not done."""
    return tables_of(table, {student: numbers}, **failures)


def tables_of(table: Table, numbers: Mapping[str, Numbers], **failures: str) -> TableResult:
    """The same for several students; the teacher's stand with the first."""
    lines = []
    for place, (student, by_row) in enumerate(numbers.items()):
        rows = [row for row in table.rows if row.network != "teacher" or place == 0]
        lines += [line_result(_line(row, student, by_row.get(row.id, ())), NOWHERE) for row in rows]
    run = Run("student-trainer reproduce it", ("Made for a test.",), failures)
    return settled(table, lines, Made(), run)


@dataclass(frozen=True)
class Done(Task):
    """A task whose cell has a made number, or none yet."""

    cell: Cell | None = None

    def finished(self, root: Path, measure: Measure) -> Cell | None:
        return self.cell


def _line(row: Row, student: str, values: Sequence[float] | float) -> Line:
    seeds: list[tuple[int | None, float]] = (
        [(None, values)] if isinstance(values, float) else list(enumerate(values))
    )
    tasks = [Done(NEVER_MADE, (), cell=_cell(row, seed, value)) for seed, value in seeds]
    planned = 3 if row.network == "trained" else 1
    tasks += [Done(NEVER_MADE, ())] * (planned - len(tasks))
    images = row.images if row.network == "trained" else None
    return Line(row, student, Made(), tuple(tasks), images)


def _cell(row: Row, seed: int | None, value: float) -> Cell:
    return Cell(
        network=row.network,
        images=row.images or 0,
        seed=seed,
        epochs=1,
        steps=1,
        seconds=30.0,
        facts={},
        recipe_digest=None,
        recipe=None,
        hardware="a machine",
        versions={},
        folder=f"{row.id}-{seed}",
        measures={"mAP": value},
        measuring_seconds=3.0,
    )
