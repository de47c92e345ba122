"""Numbers of a reproduction as people read them; Markdown, HTML and the terminal say the same.

In: results. Out: texts, not yet escaped for any format.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from student_trainer.reproduce.claims import Difference
from student_trainer.reproduce.columns import Column
from student_trainer.reproduce.results import ClaimResult, LineResult, TableResult
from student_trainer.trials.seeds import interval

NOTHING = "–"
FACTS = {
    "tau": "tau",
    "alone": "alone (%)",
    "neighbours": "neighbours",
    "first loss": "first loss",
    "last loss": "last loss",
}
"""What a table may say of the images and of the training: its heading. An image is alone that has no other
above tau; neighbours are those above it."""


@dataclass(frozen=True)
class RowView:
    """One line, as texts."""

    title: str
    images: str
    facts: tuple[str, ...]
    seeds: str
    ours: tuple[tuple[str, str], ...]
    """Mean and interval for each column; the interval may be empty."""
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
    facts: tuple[str, ...]
    has_gaps: bool
    paper_columns: tuple[str, ...]
    paper_note: str
    rows: tuple[RowView, ...]
    claims: tuple[ClaimView, ...]
    effort: str

    @property
    def name(self) -> str:
        """With its place in the paper."""
        source = f" ({self.result.source} of the paper)" if self.result.source else ""
        return f"{self.result.title}{source}"

    @property
    def tally(self) -> str:
        """``2 held, 1 cannot tell``."""
        return _tally(self.claims)


def view(table: TableResult) -> TableView:
    """Everything that a page says of a table."""
    several = len({line.student for line in table.lines}) > 1
    has_paper = any(line.paper for line in table.lines)
    return TableView(
        result=table,
        columns=tuple(f"{column.name} (%)" if column.share else column.name for column in table.columns),
        facts=tuple(FACTS[fact] for fact in table.facts),
        has_gaps=any(line.gaps for line in table.lines),
        paper_columns=table.paper_columns if has_paper else (),
        paper_note=_paper_note(table),
        rows=tuple(_row(line, table, several=several) for line in table.lines),
        claims=tuple(
            _claim(claim, place, several=several)
            for claim in table.claims
            for place in range(len(claim.findings))
        ),
        effort=_effort(table),
    )


def headline(tables: Sequence[TableView]) -> str:
    """All claims in one sentence."""
    claims = [claim for table in tables for claim in table.claims]
    if not claims:
        return "Nothing that a claim could be tested on is measured yet."
    return f"{len(claims)} tests of claims: {_tally(claims)}."


def points(gap: Difference) -> str:
    """``+1.2 [-0.3, +2.7]``, in points."""
    around = f" [{_signed(100 * gap.interval[0])}, {_signed(100 * gap.interval[1])}]" if gap.interval else ""
    return f"{_signed(100 * gap.mean)}{around}"


def _tally(claims: Sequence[ClaimView]) -> str:
    counts = Counter(claim.answer for claim in claims)
    return ", ".join(
        f"{counts[answer]} {answer}" for answer in ("held", "not held", "cannot tell") if counts[answer]
    )


def _row(line: LineResult, table: TableResult, *, several: bool) -> RowView:
    whose = f", {line.student}" if several and line.network != "teacher" else ""
    seen = sorted({cell.images for cell in line.cells if cell.images})
    missing = f" of {line.planned}" if len(line.cells) < line.planned else ""
    return RowView(
        title=line.title + whose,
        images=_range(seen) if seen else f"{line.images:,}" if line.images else NOTHING,
        facts=tuple(_fact(line, fact) for fact in table.facts),
        seeds=f"{len(line.cells)}{missing}" if line.planned else NOTHING,
        ours=tuple(_mean(line, column) for column in table.columns),
        gap=_gaps(line, table.columns),
        paper=tuple(NOTHING if number is None else _plain(number) for number in line.paper)
        or (NOTHING,) * len(table.paper_columns),
        note=line.left_out,
    )


def _mean(line: LineResult, column: Column) -> tuple[str, str]:
    """``43.9`` and ``[42.1, 45.7]``: the mean over seeds, and its interval."""
    values = list(line.by_seed(column).values())
    if not values:
        return NOTHING, ""
    if not column.share:
        return _plain(fmean(values)), ""
    around = interval(values)
    return _percent(fmean(values)), f"[{_percent(around[0])}, {_percent(around[1])}]" if around else ""


def _fact(line: LineResult, fact: str) -> str:
    """Mean over the cells that know it."""
    known = [cell.facts[fact] for cell in line.cells if fact in cell.facts]
    if not known:
        return NOTHING
    if fact == "alone":
        return _percent(fmean(known))
    return f"{fmean(known):.3g}" if fact == "tau" else f"{fmean(known):.2f}"


def _gaps(line: LineResult, columns: Sequence[Column]) -> str:
    shown = [column for column in columns if column.tested and column.name in line.gaps]
    if len(shown) == 1:
        return points(line.gaps[shown[0].name])
    return "; ".join(f"{column.name} {points(line.gaps[column.name])}" for column in shown) or NOTHING


def _claim(claim: ClaimResult, place: int, *, several: bool) -> ClaimView:
    finding = claim.findings[place]
    same = claim.paper.get(finding.column)
    others = ", ".join(f"{name} {_signed(value)}" for name, value in claim.paper.items())
    return ClaimView(
        says=claim.says + (f" ({claim.student})" if several else ""),
        column=finding.column,
        gain=points(finding.gap) if finding.gap else NOTHING,
        answer=finding.answer,
        paper=_signed(same) if same is not None else others or NOTHING,
    )


def _effort(table: TableResult) -> str:
    """``12 cells, 1.5 h of training and measuring, on ...``."""
    cells = {cell.folder: cell for line in table.lines for cell in line.cells}.values()
    if not cells:
        return "No cell is done yet."
    hours = sum(cell.seconds + cell.measuring_seconds for cell in cells) / 3600
    machines = sorted({cell.hardware for cell in cells})
    took = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    return f"{len(cells)} cells, {took} of training and measuring on {'; '.join(machines)}."


def _paper_note(table: TableResult) -> str:
    whose = {line.paper_student for line in table.lines if line.paper_student and line.network != "teacher"}
    own = {line.student for line in table.lines}
    other = sorted(whose - own)
    return f"The paper's numbers are those of its {' and '.join(other)} student." if other else ""


def _range(numbers: Sequence[int]) -> str:
    low, high = numbers[0], numbers[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _signed(value: float) -> str:
    """One decimal with its sign; what rounds to nothing has none."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"
