"""Measured tables with made numbers, for tests of what is said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from student_trainer.reproduce.columns import Column
from student_trainer.reproduce.definition import Row, Table
from student_trainer.reproduce.planning import Line
from student_trainer.reproduce.results import TableResult
from student_trainer.reproduce.settling import Run, line_result, settled
from student_trainer.trials.cells import Measure, Task
from student_trainer.trials.making import Given
from student_trainer.trials.records import Cell

Values = Mapping[str, float]
Numbers = Mapping[str, Sequence[float] | Sequence[Values] | float]
"""Row -> mAP of seeds 0, 1, ..., or all measures of each; one number for a network without seeds."""
MADE_UP = (Column("mAP", "made up"),)
NOWHERE = Path("nowhere")
NEVER_MADE = Given(NOWHERE)


@dataclass(frozen=True)
class Made:
    """A measure that is never taken."""

    columns: tuple[Column, ...] = MADE_UP
    sentence: str = "Made numbers."

    def digest(self) -> str:
        return "made"

    def require_unchanged(self) -> None:
        pass

    def measure(self, checkpoint: object) -> dict[str, float]:
        raise AssertionError("made numbers are not measured")


def table_of(
    table: Table,
    numbers: Numbers,
    student: str = "resnet34",
    *,
    columns: tuple[Column, ...] = MADE_UP,
    facts: Mapping[str, Values] = MappingProxyType({}),
    **failures: str,
) -> TableResult:
    """The table with these numbers; rows that have none are planned and not done; facts are those of rows."""
    return tables_of(table, {student: numbers}, columns=columns, facts=facts, **failures)


def tables_of(
    table: Table,
    numbers: Mapping[str, Numbers],
    *,
    columns: tuple[Column, ...] = MADE_UP,
    facts: Mapping[str, Values] = MappingProxyType({}),
    **failures: str,
) -> TableResult:
    """The same for several students; the teacher's stand with the first."""
    lines = []
    for place, (student, by_row) in enumerate(numbers.items()):
        rows = [row for row in table.rows if row.network != "teacher" or place == 0]
        lines += [line_result(_line(row, student, by_row.get(row.id, ()), facts), NOWHERE) for row in rows]
    run = Run("student-trainer reproduce it", ("Made for a test.",), failures)
    return settled(table, lines, Made(columns), run)


@dataclass(frozen=True)
class Done(Task):
    """A task whose cell has a made number, or none yet."""

    cell: Cell | None = None

    def finished(self, root: Path, measure: Measure) -> Cell | None:
        return self.cell


def _line(
    row: Row,
    student: str,
    values: Sequence[float] | Sequence[Values] | float,
    facts: Mapping[str, Values],
) -> Line:
    seeds: list[tuple[int | None, float | Values]] = (
        [(None, values)] if isinstance(values, float) else list(enumerate(values))
    )
    tasks = [
        Done(NEVER_MADE, (), cell=_cell(row, seed, value, facts.get(row.id, {}))) for seed, value in seeds
    ]
    planned = 3 if row.network == "trained" else 1
    tasks += [Done(NEVER_MADE, ())] * (planned - len(tasks))
    images = row.images if row.network == "trained" else None
    return Line(row, student, Made(), tuple(tasks), images)


def _cell(row: Row, seed: int | None, value: float | Values, facts: Values) -> Cell:
    return Cell(
        network=row.network,
        images=row.images or 0,
        seed=seed,
        epochs=1,
        steps=1,
        seconds=30.0,
        facts=dict(facts),
        recipe_digest=None,
        recipe=None,
        hardware="a machine",
        versions={},
        folder=f"{row.id}-{seed}",
        measures={"mAP": value} if isinstance(value, float) else dict(value),
        measuring_seconds=3.0,
    )
