"""Numbers of a reproduction as people read them; Markdown, HTML and the terminal say the same.

In: results. Out: texts, not yet escaped for any format.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from student_trainer.reproduce.columns import Column
from student_trainer.reproduce.doubts import doubts
from student_trainer.reproduce.pairs import Number, Shown, numbers, shown
from student_trainer.reproduce.results import ClaimResult, LineResult, TableResult
from student_trainer.reproduce.texts import NOTHING, percent, points, signed, spanned

FACTS = {
    "tau": "tau",
    "alone": "alone (%)",
    "neighbours": "neighbours",
    "first loss": "first loss",
    "last loss": "last loss",
    "step": "step, ms",
}
"""What a table may say of the images and of the training: its heading."""
LESSON = "learns from"
_DEFINED = {
    "alone": "alone: the share of images that have no other above tau.",
    "neighbours": "neighbours: others above tau that an image has, in the mean.",
    "step": "step: median time of a training step, with all of its images.",
}
_TWO_SEEDS = (
    "An interval of two seeds means little: it reaches 12.7 standard errors to either side, where that of "
    "three seeds reaches 4.3."
)


@dataclass(frozen=True)
class RowView:
    """One line, as texts."""

    title: str
    images: str
    facts: tuple[str, ...]
    seeds: str
    numbers: tuple[Number, ...]
    """One for each measure of the table."""
    gap: str
    """To the row that it is compared with, on the tested columns."""
    note: str
    """Why it is left out; empty where it is not."""


@dataclass(frozen=True)
class ClaimView:
    """A claim on one column, as texts."""

    says: str
    column: str
    gain: str
    answer: str
    reason: str
    """Why nobody can tell; empty where the interval says it."""
    paper: str


@dataclass(frozen=True)
class TableView:
    """A table, as texts."""

    result: TableResult
    measures: tuple[Shown, ...]
    facts: tuple[str, ...]
    definitions: tuple[str, ...]
    """Of the measures and the facts, a sentence each."""
    has_gaps: bool
    notes: tuple[str, ...]
    """What to know before believing the numbers."""
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
    def gaps_apart(self) -> bool:
        """Whether differences have a column of their own; with several measures each stands with its own."""
        return self.has_gaps and sum(column.tested for column in self.result.columns) < 2

    @property
    def tally(self) -> str:
        """``2 held, 1 cannot tell``."""
        return _tally(self.claims)


def view(table: TableResult) -> TableView:
    """Everything that a page says of a table."""
    several = len({line.student for line in table.lines}) > 1
    measures = shown(table)
    on_benchmarks = any(column.protocol for column in table.columns)
    return TableView(
        result=table,
        measures=measures,
        facts=(*([LESSON] if _differ(table) else ()), *(FACTS[fact] for fact in table.facts)),
        definitions=_definitions(table),
        has_gaps=any(line.gaps for line in table.lines),
        notes=tuple(_notes(table, several=several)),
        paper_note=_paper_note(table),
        rows=tuple(_row(line, table, measures, several=several) for line in table.lines),
        claims=tuple(
            _claim(claim, place, several=several, on_benchmarks=on_benchmarks)
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


def _tally(claims: Sequence[ClaimView]) -> str:
    counts = Counter(claim.answer for claim in claims)
    return ", ".join(
        f"{counts[answer]} {answer}" for answer in ("held", "not held", "cannot tell") if counts[answer]
    )


def _definitions(table: TableResult) -> tuple[str, ...]:
    measures = [f"{column.name}: {column.words}." for column in table.columns]
    return (*measures, *(_DEFINED[fact] for fact in table.facts if fact in _DEFINED))


def _notes(table: TableResult, *, several: bool) -> Iterator[str]:
    for line in table.lines:
        yield from (f"{_title(line, several=several)}: {doubt}." for doubt in doubts(line))
    if any(len(line.cells) == 2 for line in table.lines):
        yield _TWO_SEEDS


def _title(line: LineResult, *, several: bool) -> str:
    return line.title + (f", {line.student}" if several and line.network != "teacher" else "")


def _row(line: LineResult, table: TableResult, measures: Sequence[Shown], *, several: bool) -> RowView:
    seen = sorted({cell.images for cell in line.cells if cell.images})
    missing = f" of {line.planned}" if len(line.cells) < line.planned else ""
    return RowView(
        title=_title(line, several=several),
        images=spanned(seen) if seen else f"{line.images:,}" if line.images else NOTHING,
        facts=(
            *([_lesson(line)] if _differ(table) else ()),
            *(_fact(line, fact) for fact in table.facts),
        ),
        seeds=f"{len(line.cells)}{missing}" if line.planned else NOTHING,
        numbers=numbers(line, measures),
        gap=_gaps(line, table.columns),
        note=line.left_out,
    )


def _differ(table: TableResult) -> bool:
    """Whether its trained rows learn from different things."""
    return len({line.learns_from for line in table.lines if line.network == "trained"}) > 1


def _lesson(line: LineResult) -> str:
    return line.learns_from if line.network == "trained" else NOTHING


def _fact(line: LineResult, fact: str) -> str:
    """Mean over the cells that know it."""
    known = [cell.facts[fact] for cell in line.cells if fact in cell.facts]
    if not known:
        return NOTHING
    mean = fmean(known)
    match fact:
        case "alone":
            return percent(mean)
        case "tau":
            return f"{mean:.3g}"
        case "step":
            return f"{1000 * mean:,.0f}"
    return f"{mean:.2f}"


def _gaps(line: LineResult, columns: Sequence[Column]) -> str:
    shown = [column for column in columns if column.tested and column.name in line.gaps]
    if len(shown) == 1:
        return points(line.gaps[shown[0].name])
    return "; ".join(f"{column.name} {points(line.gaps[column.name])}" for column in shown) or NOTHING


def _claim(claim: ClaimResult, place: int, *, several: bool, on_benchmarks: bool) -> ClaimView:
    """On benchmarks the paper's number is that of the same measure or none; elsewhere all of its are told."""
    finding = claim.findings[place]
    same = claim.paper.get(finding.column)
    told = {} if on_benchmarks else claim.paper
    others = ", ".join(f"{name} {signed(value)}" for name, value in told.items())
    return ClaimView(
        says=claim.says + (f" ({claim.student})" if several else ""),
        column=finding.column,
        gain=points(finding.gap) if finding.gap else NOTHING,
        answer=finding.answer,
        reason=finding.reason,
        paper=signed(same) if same is not None else others or NOTHING,
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
