"""Measured tables with made numbers, for tests of what is said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from student_trainer.reproduce.definition import Row, Table
from student_trainer.reproduce.measures import Column
from student_trainer.reproduce.results import LineResult, TableResult
from student_trainer.reproduce.settling import Run, settled
from student_trainer.trials.cells import Cell

Numbers = Mapping[str, Sequence[float] | float]
"""Row -> mAP of seeds 0, 1, ...; one number for a network without seeds."""


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
        lines += [_line(row, student, by_row.get(row.id, ())) for row in rows]
    run = Run("student-trainer reproduce it", ("Made for a test.",), failures)
    return settled(table, lines, Made(), run)


def _line(row: Row, student: str, values: Sequence[float] | float) -> LineResult:
    seeds: list[tuple[int | None, float]] = (
        [(None, values)] if isinstance(values, float) else list(enumerate(values))
    )
    images = row.images if row.network == "trained" else None
    whose = student if student in row.paper else next(iter(row.paper), None)
    return LineResult(
        row=row.id,
        title=row.title.replace("{images}", f"{images or 0:,}"),
        student=student,
        network=row.network,
        learns_from=row.learns_from,
        group=row.group,
        values={**row.each, **({"images": images} if images else {})},
        images=images,
        paper_images=row.images,
        changes=row.set,
        cells=tuple(_cell(row, seed, value) for seed, value in seeds),
        planned=max(len(seeds), 3 if row.network == "trained" else 1),
        left_out="",
        paper_student=whose,
        paper=row.paper[whose] if whose else (),
        against=row.against,
        gaps={},
    )


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
