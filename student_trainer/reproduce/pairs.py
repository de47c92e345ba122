"""Ours beside the paper's, measure by measure, in the paper's order where we have one of its measures.

In: a measured table. Out: the measures in the order in which they are shown, and each row's numbers as texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from student_trainer.reproduce.columns import Column
from student_trainer.reproduce.results import LineResult, TableResult
from student_trainer.reproduce.texts import NOTHING, percent, plain, points
from student_trainer.trials.seeds import interval


@dataclass(frozen=True)
class Shown:
    """A measure: ours, the paper's, or both."""

    column: Column | None
    """Ours."""
    paper: str
    """The paper's name of it; empty where it does not have it."""
    place: int = -1
    """Among the paper's columns."""

    @property
    def both(self) -> bool:
        """Whether ours and the paper's stand together."""
        return self.column is not None and bool(self.paper)

    @property
    def heading(self) -> str:
        """What is measured."""
        return self.paper if self.column is None else self.column.heading

    @property
    def title(self) -> str:
        """The heading, with whose numbers stand there; ours where nothing is said."""
        if self.both:
            return f"{self.heading}: ours / paper"
        return self.heading if self.column is not None else f"paper {self.heading}"


@dataclass(frozen=True)
class Number:
    """One measure of one row, as texts; what is not shown is empty."""

    ours: str = ""
    interval: str = ""
    gap: str = ""
    """To the row that it is compared with."""
    paper: str = ""

    @property
    def text(self) -> str:
        """``51.0 [48.5, 53.5] / 54.3``."""
        return " / ".join(filter(None, (" ".join(filter(None, (self.ours, self.interval))), self.paper)))


def shown(table: TableResult) -> tuple[Shown, ...]:
    """In the paper's order, then what is ours alone; ours first where the two have nothing in common."""
    names = table.paper_columns if any(line.paper for line in table.lines) else ()
    own = {column.name: column for column in table.columns}
    theirs = [Shown(own.get(name), name, place) for place, name in enumerate(names)]
    ours = [Shown(column, "") for column in table.columns if column.name not in names]
    common = any(measure.both for measure in theirs)
    return (*theirs, *ours) if common else (*ours, *theirs)


def numbers(line: LineResult, measures: Sequence[Shown]) -> tuple[Number, ...]:
    """Of one row."""
    return tuple(_number(line, measure) for measure in measures)


def _number(line: LineResult, measure: Shown) -> Number:
    paper = _paper(line, measure.place) if measure.paper else ""
    if measure.column is None:
        return Number(paper=paper)
    mean, around = _mean(line, measure.column)
    gap = line.gaps.get(measure.column.name)
    return Number(mean, around, points(gap) if gap is not None and measure.column.tested else "", paper)


def _paper(line: LineResult, place: int) -> str:
    value = line.paper[place] if line.paper else None
    return NOTHING if value is None else plain(value)


def _mean(line: LineResult, column: Column) -> tuple[str, str]:
    """``43.9`` and ``[42.1, 45.7]``: the mean over seeds, and its interval."""
    values = list(line.by_seed(column).values())
    if not values:
        return NOTHING, ""
    if not column.share:
        return plain(fmean(values)), ""
    around = interval(values)
    return percent(fmean(values)), f"[{percent(around[0])}, {percent(around[1])}]" if around else ""
