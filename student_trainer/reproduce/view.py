"""Numbers of a reproduction as people read them; Markdown, HTML and the terminal say the same.

In: results. Out: texts, not yet escaped for any format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from student_trainer.reproduce.results import ClaimResult, ColumnWords, Gap, LineResult, TableResult
from student_trainer.trials.seeds import interval

NOTHING = "–"


@dataclass(frozen=True)
class RowView:
    """One line, as texts."""

    title: str
    images: str
    seeds: str
    ours: tuple[str, ...]
    """One for each column."""
    gap: str
    """To the row that it is compared with, on the tested columns."""
    paper: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class ClaimView:
    """A claim on one column, as texts."""

    says: str
    column: str
    gain: str
    answer: str
    paper: str


@dataclass(frozen=True)
class TableView:
    """A table, as texts."""

    result: TableResult
    columns: tuple[str, ...]
    has_gaps: bool
    paper_columns: tuple[str, ...]
    paper_note: str
    rows: tuple[RowView, ...]
    claims: tuple[ClaimView, ...]


def view(table: TableResult) -> TableView:
    """Everything that a page says of a table."""
    students = {line.student for line in table.lines}
    has_paper = any(line.paper for line in table.lines)
    return TableView(
        result=table,
        columns=tuple(f"{column.name} (%)" if column.share else column.name for column in table.columns),
        has_gaps=any(line.against for line in table.lines),
        paper_columns=table.paper_columns if has_paper else (),
        paper_note=_paper_note(table),
        rows=tuple(_row(line, table, several=len(students) > 1) for line in table.lines),
        claims=tuple(
            _claim(claim, place, several=len(students) > 1)
            for claim in table.claims
            for place in range(len(claim.findings))
        ),
    )


def _row(line: LineResult, table: TableResult, *, several: bool) -> RowView:
    whose = f", {line.student}" if several and line.network != "teacher" else ""
    seen = sorted({cell.images for cell in line.cells if cell.images})
    return RowView(
        title=line.title + whose,
        images=_range(seen) if seen else f"{line.images:,}" if line.images else NOTHING,
        seeds=f"{len(line.cells)}" + (f" of {line.planned}" if len(line.cells) < line.planned else ""),
        ours=tuple(_mean(line, column) for column in table.columns),
        gap=_gaps(line, table.columns),
        paper=tuple(NOTHING if number is None else _plain(number) for number in line.paper)
        or (NOTHING,) * len(table.paper_columns),
        note=f"left out: {line.left_out}" if line.left_out else "",
    )


def _mean(line: LineResult, column: ColumnWords) -> str:
    """``43.9 [42.1, 45.7]``: the mean over seeds, and its interval."""
    values = list(line.by_seed(column.name).values())
    if not values:
        return NOTHING
    if not column.share:
        return _plain(fmean(values))
    around = interval(values)
    return _percent(fmean(values)) + (f" [{_percent(around[0])}, {_percent(around[1])}]" if around else "")


def _gaps(line: LineResult, columns: Sequence[ColumnWords]) -> str:
    shown = [column for column in columns if column.tested and column.name in line.gaps]
    return "; ".join(points(line.gaps[column.name]) for column in shown) or NOTHING


def points(gap: Gap) -> str:
    """``+1.2 [-0.3, +2.7]``, in points."""
    around = f" [{100 * gap.interval[0]:+.1f}, {100 * gap.interval[1]:+.1f}]" if gap.interval else ""
    return f"{100 * gap.mean:+.1f}{around}"


def _claim(claim: ClaimResult, place: int, *, several: bool) -> ClaimView:
    finding = claim.findings[place]
    same = claim.paper.get(finding.column)
    others = ", ".join(f"{name} {value:+.1f}" for name, value in claim.paper.items())
    return ClaimView(
        says=claim.says + (f" ({claim.student})" if several else ""),
        column=finding.column,
        gain=points(finding.gap) if finding.gap else NOTHING,
        answer=finding.answer,
        paper=f"{same:+.1f}" if same is not None else others or NOTHING,
    )


def _paper_note(table: TableResult) -> str:
    whose = {line.paper_student for line in table.lines if line.paper_student and line.network != "teacher"}
    own = {line.student for line in table.lines}
    other = sorted(whose - own)
    return f"The paper's numbers are those of its {', '.join(other)}." if other else ""


def _range(numbers: Sequence[int]) -> str:
    low, high = numbers[0], numbers[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"
