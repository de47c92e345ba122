"""From cells that are done to a table: what rows differ by, and which claims held.

In: planned lines and the folder of the cells. Out: a :class:`student_trainer.reproduce.results.TableResult`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from student_trainer.reproduce.claims import Answer, BySeed, Difference, difference
from student_trainer.reproduce.columns import Column
from student_trainer.reproduce.definition import Claim, Row, Table
from student_trainer.reproduce.doubts import learned_nothing
from student_trainer.reproduce.measures import TableMeasure
from student_trainer.reproduce.planning import Line
from student_trainer.reproduce.results import ClaimResult, Finding, LineResult, TableResult


@dataclass(frozen=True)
class Run:
    """What the command was, for the page."""

    command: str
    settings: tuple[str, ...]
    failures: Mapping[str, str]
    """Cell -> why it failed."""


def table_result(table: Table, lines: Sequence[Line], cells: Path, run: Run) -> TableResult:
    """A table from the cells that are done."""
    own = {task.making.name for line in lines for task in line.tasks}
    failures = {cell: why for cell, why in run.failures.items() if cell in own}
    measure = next((line.measure for line in lines if line.measure is not None), None)
    found = [line_result(line, cells) for line in lines]
    return settled(table, found, measure, Run(run.command, run.settings, failures))


def settled(table: Table, lines: Sequence[LineResult], measure: TableMeasure | None, run: Run) -> TableResult:
    """A table from its measured lines: what each differs by, and which claims held."""
    columns = measure.columns if measure else ()
    students = list(dict.fromkeys(line.student for line in lines))
    by_row = {(line.row, line.student): line for line in lines}
    teachers = [line for line in lines if line.network == "teacher"]
    by_row |= {(line.row, student): line for line in teachers for student in students}
    claims = [
        _claim(claim, student, by_row, table, columns)
        for student in students
        for claim in table.claims
        if all((row, student) in by_row and by_row[row, student].cells for row in claim.rows)
    ]
    return TableResult(
        name=table.name,
        title=table.title,
        source=table.source,
        text=table.text,
        measured_on=measure.sentence if measure else "",
        settings=run.settings,
        columns=columns,
        facts=table.facts,
        paper_columns=table.paper_columns,
        lines=tuple(_compared(line, by_row, columns) for line in lines),
        claims=tuple(claims),
        plots=table.plots,
        command=run.command,
        failures=dict(run.failures),
    )


def line_result(line: Line, root: Path) -> LineResult:
    """A line as far as its cells are done."""
    row = line.row
    done = [task.finished(root, line.measure) for task in line.tasks] if line.measure else []
    whose = _whose(row, line.student)
    used = {} if line.images is None else {"images": line.images}
    return LineResult(
        row=row.id,
        title=row.title.replace("{images}", f"{line.images:,}" if line.images is not None else ""),
        student=line.student,
        network=row.network,
        learns_from=row.learns_from,
        group=row.group,
        values={**row.each, **used},
        images=line.images,
        paper_images=row.images,
        changes=row.set,
        cells=tuple(cell for cell in done if cell is not None),
        planned=len(line.tasks),
        left_out=line.left_out,
        paper_student=whose,
        paper=row.paper[whose] if whose else (),
        against=row.against,
        gaps={},
    )


def _whose(row: Row, student: str) -> str | None:
    """This student's numbers; where the paper has none, those of the first that it has."""
    return student if student in row.paper else next(iter(row.paper), None)


def _compared(
    line: LineResult, by_row: Mapping[tuple[str, str], LineResult], columns: Sequence[Column]
) -> LineResult:
    other = by_row.get((line.against or "", line.student))
    if other is None:
        return line
    gaps = {column.name: difference(line.by_seed(column), other.by_seed(column)) for column in columns}
    return line.model_copy(update={"gaps": {name: gap for name, gap in gaps.items() if gap is not None}})


def _claim(
    claim: Claim,
    student: str,
    by_row: Mapping[tuple[str, str], LineResult],
    table: Table,
    columns: Sequence[Column],
) -> ClaimResult:
    lines = [by_row[row, student] for row in claim.rows]
    findings = [_finding(claim, lines, column) for column in columns if _is_about(claim, column)]
    return ClaimResult(
        says=claim.says,
        student=student,
        rows=claim.rows,
        at_least=claim.at_least,
        findings=tuple(findings),
        paper=_paper_gap(claim, table, student),
    )


def _is_about(claim: Claim, column: Column) -> bool:
    return column.tested if claim.on is None else column.name == claim.on


def _finding(claim: Claim, lines: Sequence[LineResult], column: Column) -> Finding:
    gap = _of_rows([line.by_seed(column) for line in lines])
    idle = list(dict.fromkeys(line.title for line in lines if learned_nothing(line)))
    answer: Answer = gap.answer(claim.at_least) if gap and not idle else "cannot tell"
    reason = f"{', '.join(idle)} learned nothing" if idle else gap.doubt if gap else _no_gap(lines, column)
    return Finding(column=column.name, answer=answer, gap=gap, reason=reason)


def _no_gap(lines: Sequence[LineResult], column: Column) -> str:
    """Why there is no difference."""
    without = [line.title for line in lines if not line.by_seed(column)]
    return f"{', '.join(without)}: not measured" if without else "no seed has all rows"


def _of_rows(rows: Sequence[BySeed]) -> Difference | None:
    better, than, *others = rows
    return difference(better, than, (others[0], others[1]) if others else None)


def _paper_gap(claim: Claim, table: Table, student: str) -> dict[str, float]:
    """The paper's own difference, column by column, where it has every row."""
    rows = [table.row(name) for name in claim.rows]
    numbers = [row.paper[whose] for row in rows if (whose := _whose(row, student)) is not None]
    if len(numbers) < len(rows):
        return {}
    gaps = {}
    for column, *values in zip(table.paper_columns, *numbers, strict=True):
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            gain = known[0] - known[1]
            gaps[column] = round(gain - (known[2] - known[3]) if len(known) > 2 else gain, 6)
    return gaps
