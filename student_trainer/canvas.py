"""Drawing in the style of the house, for a page or for a file of its own.

In: a function that draws on axes in the colours it is given. Out: an ``<svg>`` element to stand inside HTML,
which takes its colours from the page around it, or a PNG. The same bytes for the same drawing. Matplotlib
draws; no window system and no global state are touched.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Palette:
    """The colours of a drawing."""

    ink: str
    accent: str
    faint: str
    grid: str
    page: str | None
    """Of the ground; None where it is the page's."""


Draw: TypeAlias = Callable[[Axes, Palette], None]

_PAGE = Palette("#010101", "#020202", "#030303", "#040404", None)
_STYLE_OF = {
    _PAGE.ink: "currentColor",
    _PAGE.accent: "var(--accent)",
    _PAGE.faint: "var(--faint)",
    _PAGE.grid: "var(--line)",
}
"""Matplotlib knows no CSS, so it draws in these colours and they are replaced afterwards: one figure
then serves the light page, the dark page and paper."""
_PAPER = Palette("#1d1f24", "#1f5f8b", "#5d626d", "#dedbd3", "#ffffff")
"""The report's own colours on white."""

_WIDTH_IN = 5.0
_DOTS_PER_INCH = 200


def svg(draw: Draw, height_in: float, salt: str, description: str) -> str:
    """Draw on fresh axes and return the ``<svg>`` element with a title that screen readers speak.

    ``salt`` keeps the names inside apart from those of other figures on the page.
    """
    with mpl.rc_context():
        figure = _drawn(draw, height_in, _PAGE, {"svg.hashsalt": salt})
        FigureCanvasSVG(figure)
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", metadata=nothing)
    return _for_a_page(text.getvalue(), salt, description)


def png(draw: Draw, height_in: float) -> bytes:
    """Draw on fresh axes and return a PNG, 1,000 pixels wide."""
    with mpl.rc_context():
        figure = _drawn(draw, height_in, _PAPER, {})
        FigureCanvasAgg(figure)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return image.getvalue()


def _drawn(draw: Draw, height_in: float, palette: Palette, more: dict[Any, Any]) -> Figure:
    """Within a context that restores the settings."""
    mpl.rcdefaults()  # a user's own matplotlibrc must not change the figure
    mpl.rcParams.update({**_settings(palette), **more})
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    if palette.page is None:
        figure.patch.set_visible(False)
    else:
        figure.set_facecolor(palette.page)
    draw(axes, palette)
    return figure


def _settings(palette: Palette) -> dict[Any, Any]:
    return {
        "svg.fonttype": "none",  # text stays text: small, searchable, in the reader's font
        "font.size": 10,
        "text.color": palette.ink,
        "axes.edgecolor": palette.faint,
        "axes.labelcolor": palette.ink,
        "xtick.color": palette.ink,
        "ytick.color": palette.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": palette.grid,
        "grid.linewidth": 0.8,
    }


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
