"""Quality against queries, as a figure for the page and as a picture of its own.

In: a :class:`student_trainer.curve.document.Curve`. Out: an ``<svg>`` element, or a PNG.
"""

from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from student_trainer.canvas import Palette, png, svg
from student_trainer.curve.document import Curve
from student_trainer.trials.seeds import interval

_HEIGHT_IN = 3.2


def quality_curve(curve: Curve) -> str:
    """For the report: the mean over seeds with its 95 % interval, every seed, and lines to compare with."""
    spoken = "; ".join(
        f"{size:,} queries {fmean(curve.qualities(size).values()):.3f}" for size in curve.sizes
    )
    description = f"{curve.yardstick.name} against queries: {spoken}. {curve.verdict.sentence}"
    return svg(lambda axes, colour: _draw(axes, colour, curve), _HEIGHT_IN, "quality", description)


def quality_picture(curve: Curve) -> bytes:
    """The same as a PNG."""
    return png(lambda axes, colour: _draw(axes, colour, curve), _HEIGHT_IN)


def _draw(axes: Axes, colour: Palette, curve: Curve) -> None:
    means = [fmean(curve.qualities(size).values()) for size in curve.sizes]
    intervals = [interval(list(curve.qualities(size).values())) for size in curve.sizes]
    low, high = (
        [around[side] if around else mean for around, mean in zip(intervals, means, strict=True)]
        for side in (0, 1)
    )
    if any(intervals):
        axes.fill_between(curve.sizes, low, high, color=colour.accent, alpha=0.15, linewidth=0)
    queries, qualities = [cell.queries for cell in curve.cells], [cell.quality for cell in curve.cells]
    axes.plot(queries, qualities, "o", color=colour.faint, ms=3.5, alpha=0.7, linewidth=0)
    axes.plot(curve.sizes, means, color=colour.accent, linewidth=1.8, marker="o", ms=5)
    _lines(axes, colour, curve)
    _scales(axes, curve, [*low, *high])


def _lines(axes: Axes, colour: Palette, curve: Curve) -> None:
    """What the student had without a query, and what the teacher has."""
    for value, name, style in ((curve.before, "student before", "--"), (curve.teacher, "teacher", "-.")):
        if value is not None:
            axes.axhline(value, color=colour.faint, linewidth=1.2, linestyle=style)
            axes.annotate(
                f"{name} {value:.3f}", (1, value), (-2, 3), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", color=colour.faint, fontsize=9,
            )  # fmt: skip


def _scales(axes: Axes, curve: Curve, bounds: list[float]) -> None:
    """Doubling the queries is one step to the right.

    The intervals of two seeds may be so wide that nothing else would be seen: they leave the picture where
    they reach further beyond the measured values than these lie apart.
    """
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(curve.sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(curve.sizes, [f"{size:,}" for size in curve.sizes])
    axes.set_xlim(curve.sizes[0] / 1.25, curve.sizes[-1] * 1.25)
    lines = [line for line in (curve.before, curve.teacher) if line is not None]
    measured = np.array([*(cell.quality for cell in curve.cells), *lines])
    span = max(float(np.ptp(measured)), 0.02)
    lowest, highest = measured.min() - span, measured.max() + span
    shown = np.concatenate([measured, np.clip(bounds, lowest, highest)])
    axes.set_ylim(shown.min() - 0.1 * span, shown.max() + 0.15 * span)
    axes.set_xlabel("queries (bought images that were learned from)")
    axes.set_ylabel(curve.yardstick.name)
    axes.grid(axis="y")
