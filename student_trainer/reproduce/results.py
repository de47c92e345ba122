"""``results.json``: every cell with its numbers, what the paper has beside them, and which claims held.

In: planned lines and the folder of the cells, or the bytes of the file. Out: the file, or a checked document.
A run replaces the tables that it was asked for and keeps the others, so one page grows over several runs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from student_trainer.errors import InvalidInput
from student_trainer.reproduce.claims import Answer, BySeed, Difference, difference
from student_trainer.reproduce.definition import Claim, Plot, Row, Table, Value
from student_trainer.reproduce.planning import Line
from student_trainer.trials.cells import Cell
from student_trainer.trials.files import write_whole


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Gap(_Part):
    """A mean difference over seeds."""

    mean: float
    interval: tuple[float, float] | None
    seeds: int


class ColumnWords(_Part):
    """A measured number: its name, and what it is."""

    name: str
    words: str
    tested: bool
    share: bool


class LineResult(_Part):
    """A row with one student, as far as its cells are done."""

    row: str
    title: str
    student: str
    network: str
    learns_from: str
    group: str
    values: dict[str, Value]
    """Of what the table's ``each`` lists; ``images`` is the number that was used."""
    images: int | None
    """That were asked for here."""
    paper_images: int | None
    changes: tuple[str, ...]
    cells: tuple[Cell, ...]
    planned: int
    """Cells, done or not."""
    left_out: str
    paper_student: str | None
    """Whose numbers the paper's are: this student's where it has them."""
    paper: tuple[float | None, ...]
    against: str | None
    gaps: dict[str, Gap]
    """Column -> this row minus the one that it is compared with."""

    def by_seed(self, column: str) -> dict[int | None, float]:
        """Seed -> what was measured."""
        return {cell.seed: cell.measures[column] for cell in self.cells}


class Finding(_Part):
    """A claim on one column."""

    column: str
    answer: Answer
    gap: Gap | None


class ClaimResult(_Part):
    """A claim with one student."""

    says: str
    student: str
    rows: tuple[str, ...]
    at_least: float | None
    findings: tuple[Finding, ...]
    paper: dict[str, float]
    """Column of the paper -> its own difference, in its points."""


class TableResult(_Part):
    """A table as it was measured."""

    name: str
    title: str
    source: str
    text: str
    measured_on: str
    """One sentence."""
    settings: tuple[str, ...]
    """What was used here, in sentences."""
    columns: tuple[ColumnWords, ...]
    paper_columns: tuple[str, ...]
    lines: tuple[LineResult, ...]
    claims: tuple[ClaimResult, ...]
    plots: tuple[Plot, ...]
    command: str
    failures: dict[str, str]
    """Cell -> why it failed in the last run."""


class Results(_Part):
    """The whole document."""

    format: Literal["ration-reproduction/1"] = "ration-reproduction/1"
    tables: dict[str, TableResult] = {}

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            StorageFailed: it cannot be written.
        """
        write_whole(path, self.model_dump_json(indent=1) + "\n")


def read_results(path: Path) -> Results:
    """What earlier runs left; nothing where there is no file.

    Raises:
        InvalidInput: the file is something else.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Results()
    except ValidationError as error:
        raise InvalidInput(
            f"{path} is not what reproduce writes ({error.errors()[0]['msg']}). Move it away: the cells "
            "beside it are kept, and the same command writes it anew."
        ) from None


def table_result(
    table: Table,
    lines: Sequence[Line],
    cells: Path,
    *,
    settings: Sequence[str],
    command: str,
    failures: Mapping[str, str],
) -> TableResult:
    """A table from the cells that are done."""
    found = [_line(line, cells) for line in lines]
    measure = next((line.measure for line in lines if line.measure is not None), None)
    columns = measure.columns if measure else ()
    words = tuple(
        ColumnWords(name=column.name, words=column.words, tested=column.tested, share=column.share)
        for column in columns
    )
    by_row = {(line.row, line.student): line for line in found}
    by_row |= {
        (line.row, student): line
        for line in found
        if line.network == "teacher"
        for student in _students(found)
    }
    compared = [_compared(line, by_row, words) for line in found]
    claims = [
        _claim(claim, student, by_row, table, words)
        for student in _students(found)
        for claim in table.claims
        if all((row, student) in by_row and by_row[row, student].cells for row in claim.rows)
    ]
    own = {task.making.name for line in lines for task in line.tasks}
    return TableResult(
        name=table.name,
        title=table.title,
        source=table.source,
        text=table.text,
        measured_on=measure.sentence if measure else "",
        settings=tuple(settings),
        columns=words,
        paper_columns=table.paper_columns,
        lines=tuple(compared),
        claims=tuple(claims),
        plots=table.plots,
        command=command,
        failures={cell: why for cell, why in failures.items() if cell in own},
    )


def _students(lines: Sequence[LineResult]) -> list[str]:
    return list(dict.fromkeys(line.student for line in lines))


def _line(line: Line, root: Path) -> LineResult:
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
    line: LineResult, by_row: Mapping[tuple[str, str], LineResult], columns: Sequence[ColumnWords]
) -> LineResult:
    other = by_row.get((line.against or "", line.student))
    if other is None:
        return line
    gaps = {
        column.name: _gap(difference(line.by_seed(column.name), other.by_seed(column.name)))
        for column in columns
    }
    return line.model_copy(update={"gaps": {name: gap for name, gap in gaps.items() if gap is not None}})


def _claim(
    claim: Claim,
    student: str,
    by_row: Mapping[tuple[str, str], LineResult],
    table: Table,
    columns: Sequence[ColumnWords],
) -> ClaimResult:
    findings = []
    for column in columns:
        if column.tested:
            rows = [by_row[row, student].by_seed(column.name) for row in claim.rows]
            gap = _of_rows(rows)
            answer: Answer = gap.answer(claim.at_least) if gap else "cannot tell"
            findings.append(Finding(column=column.name, answer=answer, gap=_gap(gap)))
    return ClaimResult(
        says=claim.says,
        student=student,
        rows=claim.rows,
        at_least=claim.at_least,
        findings=tuple(findings),
        paper=_paper_gap(claim, table, student),
    )


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


def _gap(found: Difference | None) -> Gap | None:
    return Gap(mean=found.mean, interval=found.interval, seeds=found.seeds) if found else None
