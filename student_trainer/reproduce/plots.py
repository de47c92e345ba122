"""What the figures of a table show: its measured rows, along one of the values that they list.

In: a measured table. Out: sweeps, one for each plot and each column that claims are tested on.
"""

from collections.abc import Iterator, Mapping
from statistics import fmean

from student_trainer.reproduce.columns import Column
from student_trainer.reproduce.definition import Plot
from student_trainer.reproduce.expand import IMAGES
from student_trainer.reproduce.results import LineResult, TableResult
from student_trainer.reproduce.sweep_figure import Point, Sweep, SweepLine
from student_trainer.trials.seeds import interval

_AXES = {IMAGES: "images that were learned from", "rounds": "rounds of mixing (R)"}


def sweeps(table: TableResult) -> Iterator[Sweep]:
    """Every figure that has at least two points on some line."""
    for plot in table.plots:
        for column in table.columns:
            if column.tested and column.share:
                sweep = _sweep(plot, column, table)
                if any(len(line.points) > 1 for line in sweep.lines):
                    yield sweep


def _sweep(plot: Plot, column: Column, table: TableResult) -> Sweep:
    points: dict[str, list[Point]] = {}
    several = len({line.student for line in table.lines}) > 1
    for line in table.lines:
        if line.group in plot.lines and plot.x in line.values and line.by_seed(column):
            name = _name(plot.lines[line.group], line.values) + (f", {line.student}" if several else "")
            points.setdefault(name, []).append(_point(line, plot.x, column))
    lines = tuple(SweepLine(name, tuple(sorted(found, key=_place))) for name, found in points.items())
    levels = {
        line.title: 100 * fmean(line.by_seed(column).values())
        for line in table.lines
        if line.network != "trained" and line.by_seed(column)
    }
    return Sweep(_AXES.get(plot.x, plot.x), column.heading, lines, levels)


def _point(line: LineResult, x: str, column: Column) -> Point:
    values = [100 * value for value in line.by_seed(column).values()]
    return Point(float(line.values[x]), fmean(values), interval(values))


def _place(point: Point) -> float:
    return point.x


def _name(template: str, values: Mapping[str, object]) -> str:
    """``rank-mixup, alpha {alpha}`` with the row's own value."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", f"{value:,}" if isinstance(value, int) else str(value))
    return template
