"""Figures as small, repeatable SVG text that takes its colours from the page around it.

In: training steps or model scores. Out: an ``<svg>`` element to stand inside HTML, the same bytes for
the same numbers. Matplotlib draws; no window system and no global state are touched.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from student_trainer.evaluate.document import ModelScores
from student_trainer.publish.facts import Step

_INK, _ACCENT, _FAINT, _GRID = "#010101", "#020202", "#030303", "#040404"
_STYLE_OF = {_INK: "currentColor", _ACCENT: "var(--accent)", _FAINT: "var(--faint)", _GRID: "var(--line)"}
"""Matplotlib knows no CSS, so it draws in these colours and they are replaced afterwards: one figure
then serves the light page, the dark page and paper."""

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, searchable, in the reader's font
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
}
_WIDTH_IN = 5.0
_MAX_POINTS = 300
_MAX_NAME = 24
_MARK_EVERY_POINT_BELOW = 40


def training_curve(steps: Sequence[Step]) -> str:
    """The loss of every step; long trainings are shown as means of runs of steps.

    Raises:
        ValueError: there are no steps.
    """
    if not steps:
        raise ValueError("A training curve needs at least one step.")
    groups = np.array_split(np.arange(len(steps)), min(len(steps), _MAX_POINTS))
    numbers = [float(np.mean([steps[place].step for place in group])) for group in groups]
    losses = [float(np.mean([steps[place].loss for place in group])) for group in groups]

    marker = "o" if len(groups) < _MARK_EVERY_POINT_BELOW else ""

    def draw(axes: Axes) -> None:
        axes.plot(numbers, losses, color=_ACCENT, linewidth=1.6, marker=marker, ms=3)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.grid(axis="y")

    first, last = losses[0], losses[-1]
    return _svg(
        draw, 2.6, "curve", f"Training loss over {len(steps):,} steps, from {first:.3f} to {last:.3f}."
    )


def score_chart(models: Mapping[str, ModelScores]) -> str:
    """mAP (step) of every model with its 95 % interval, first model on top.

    Raises:
        ValueError: there are no models.
    """
    if not models:
        raise ValueError("A score chart needs at least one model.")
    names = list(models)
    values = np.array([models[name].map_step for name in names])
    bounds = np.array([models[name].intervals["map_step"] for name in names])
    # A percentile interval may lie on one side of the mean; an error bar cannot.
    reach = np.maximum(0, np.stack([values - bounds[:, 0], bounds[:, 1] - values]))

    def draw(axes: Axes) -> None:
        places = np.arange(len(names))[::-1]
        axes.errorbar(values, places, xerr=reach, fmt="o", color=_ACCENT, ms=6, capsize=3, linewidth=1.6)
        for value, place in zip(values, places, strict=True):
            axes.annotate(f"{value:.3f}", (value, place), (0, 8), textcoords="offset points", ha="center")
        # Names are the user's: a pair of dollar signs in one is not mathematics.
        axes.set_yticks(places, [_shortened(name) for name in names], parse_math=False)
        axes.set_ylim(-0.6, len(names) - 0.3)
        axes.set_xlabel("mAP (step)")
        axes.grid(axis="x")

    spoken = "; ".join(f"{name} {models[name].map_step:.3f}" for name in names)
    return _svg(draw, 0.9 + 0.45 * len(names), "scores", f"mAP (step) with 95 % intervals: {spoken}.")


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"


def _svg(draw: Callable[[Axes], None], height_in: float, salt: str, description: str) -> str:
    """Draw on fresh axes and return the ``<svg>`` element with a title that screen readers speak."""
    with mpl.rc_context():
        mpl.rcdefaults()  # a user's own matplotlibrc must not change the page
        mpl.rcParams.update({**_SETTINGS, "svg.hashsalt": salt})
        figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", metadata=nothing)
    return _for_a_page(text.getvalue(), salt, description)


def _for_a_page(svg: str, salt: str, description: str) -> str:
    """Leave out what only a file of its own needs, and what would collide with other figures.

    Only tags are rewritten: the texts between them are names that users chose.
    """
    svg = re.sub(r"<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<[^>]*>", lambda tag: _smaller(tag[0], salt), svg)
    opening, rest = re.sub(r"\s*\n\s*", " ", svg).split(">", 1)
    view_box = re.search(r'viewBox="[^"]*"', opening)
    box = f"{view_box[0]} " if view_box else ""
    return f'<svg {box}role="img" class="figure"><title>{escape(description)}</title>{rest.strip()}'


def _smaller(tag: str, salt: str) -> str:
    """One tag with our colours and names, and coordinates to a hundredth of a point."""
    for colour, style in _STYLE_OF.items():
        tag = tag.replace(colour, style)
    tag = re.sub(
        r'(<g) id="[^"]*"', r"\1", tag
    )  # nothing refers to groups, and two figures share their names
    tag = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{salt}-", tag.replace("xlink:href", "href"))
    tag = re.sub(r"font-family: [^;\"]*", "font-family: inherit", tag)
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag)
