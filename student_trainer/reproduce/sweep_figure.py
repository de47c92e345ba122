"""Quality against one thing that is varied, a line for each way of training.

In: lines of points with their intervals, and levels to compare with. Out: an ``<svg>`` element, or a PNG.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from student_trainer.canvas import Palette, png, svg

_HEIGHT_IN = 3.2
_MARKS = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ("-", "v"), ("--", "P"), ("-.", "X"), (":", "*"))
"""Lines differ in more than colour: the page has few colours, and some readers see none."""
_EVEN_STEPS_BELOW = 4.0
"""Where the largest value is as many times the smallest or more, doubling is a step to the right."""


@dataclass(frozen=True)
class Point:
    """One row of a table."""

    x: float
    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class SweepLine:
    """One way of training."""

    name: str
    points: tuple[Point, ...]
    """Ascending in x."""


@dataclass(frozen=True)
class Sweep:
    """All that a figure shows; qualities in percent."""

    x: str
    y: str
    lines: tuple[SweepLine, ...]
    levels: Mapping[str, float]
    """Name -> a value that does not depend on x, such as the teacher's."""

    @property
    def description(self) -> str:
        """For screen readers."""
        spoken = [
            f"{line.name} " + ", ".join(f"{point.mean:.1f} at {point.x:g}" for point in line.points)
            for line in self.lines
        ]
        return f"{self.y} against {self.x}: {'; '.join(spoken)}."


def sweep_figure(sweep: Sweep, salt: str) -> str:
    """For a page."""
    return svg(lambda axes, colour: _draw(axes, colour, sweep), _HEIGHT_IN, salt, sweep.description)


def sweep_picture(sweep: Sweep) -> bytes:
    """The same as a PNG."""
    return png(lambda axes, colour: _draw(axes, colour, sweep), _HEIGHT_IN)


def _draw(axes: Axes, colour: Palette, sweep: Sweep) -> None:
    for place, line in enumerate(sweep.lines):
        style, marker = _MARKS[place % len(_MARKS)]
        shade = colour.accent if place == 0 else colour.ink if place % 2 else colour.faint
        x, means, reach = _arrays(line)
        axes.errorbar(
            x, means, yerr=reach, color=shade, linestyle=style, marker=marker, ms=5, linewidth=1.6,
            capsize=3, elinewidth=1.0, label=line.name,
        )  # fmt: skip
    for name, value in sweep.levels.items():
        axes.axhline(value, color=colour.faint, linewidth=1.0, linestyle=(0, (1, 3)))
        axes.annotate(
            f"{name} {value:.1f}", (1, value), (-2, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", color=colour.faint, fontsize=9, parse_math=False,
        )  # fmt: skip
    _scales(axes, sweep)
    if len(sweep.lines) > 1:
        axes.legend(frameon=False, fontsize=9)


def _arrays(line: SweepLine) -> tuple[list[float], list[float], np.ndarray]:
    means = [point.mean for point in line.points]
    bounds = [point.interval or (point.mean, point.mean) for point in line.points]
    reach = np.array([[mean - low, high - mean] for mean, (low, high) in zip(means, bounds, strict=True)]).T
    return [point.x for point in line.points], means, np.maximum(reach, 0)


def _scales(axes: Axes, sweep: Sweep) -> None:
    """The interval of two seeds may be so wide that nothing else would be seen: it may leave the picture."""
    places = sorted({point.x for line in sweep.lines for point in line.points})
    if places[0] > 0 and places[-1] / places[0] >= _EVEN_STEPS_BELOW:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [f"{place:,g}" if place < 1000 else f"{place:,.0f}" for place in places])
    values = [point.mean for line in sweep.lines for point in line.points] + list(sweep.levels.values())
    span = max(max(values) - min(values), 1.0)
    axes.set_ylim(min(values) - 0.4 * span, max(values) + 0.4 * span)
    axes.set_xlabel(sweep.x)
    axes.set_ylabel(sweep.y)
    axes.grid(axis="y")
