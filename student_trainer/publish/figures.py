"""Figures as small, repeatable SVG text that takes its colours from the page around it.

In: training steps or model scores. Out: an ``<svg>`` element to stand inside HTML, the same bytes for
the same numbers.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from student_trainer.canvas import Palette, svg
from student_trainer.distil.log.reading import Step, Watched
from student_trainer.evaluate.document import ModelScores
from student_trainer.evaluate.protocol import Headline

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

    def draw(axes: Axes, colour: Palette) -> None:
        axes.plot(numbers, losses, color=colour.accent, linewidth=1.6, marker=marker, ms=3)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.grid(axis="y")

    first, last = losses[0], losses[-1]
    return svg(
        draw, 2.6, "curve", f"Training loss over {len(steps):,} steps, from {first:.3f} to {last:.3f}."
    )


def validation_curve(watched: Sequence[Watched]) -> str:
    """How the student ranks held-back images while it trains: overlap@10 and, where there is one, AP.

    Raises:
        ValueError: nothing was watched.
    """
    if not watched:
        raise ValueError("A validation curve needs at least one measurement.")
    steps = [point.step for point in watched]
    overlaps = [point.overlap for point in watched]
    precise = [
        (point.step, point.average_precision) for point in watched if point.average_precision is not None
    ]
    marker = "o" if len(watched) < _MARK_EVERY_POINT_BELOW else ""

    def draw(axes: Axes, colour: Palette) -> None:
        axes.plot(
            steps, overlaps, color=colour.accent, linewidth=1.6, marker=marker, ms=3, label="overlap@10"
        )
        if precise:
            axes.plot(*zip(*precise, strict=True), color=colour.faint, linewidth=1.6, ls="--", label="AP")
        axes.set_xlabel("step")
        axes.set_ylabel("on held-back images")
        axes.grid(axis="y")
        axes.legend(frameon=False)

    spoken = f"overlap@10 from {overlaps[0]:.3f} to {overlaps[-1]:.3f}"
    return svg(draw, 2.6, "validation", f"Validation over {len(watched)} measurements: {spoken}.")


def score_chart(
    models: Mapping[str, ModelScores], measure: Headline = "map_step", words: str = "mAP (step)"
) -> str:
    """The measure that stands for a model, of every model with its 95 % interval, first model on top.

    Args:
        models: by name.
        measure: which average precision is drawn.
        words: how the protocol names it.

    Raises:
        ValueError: there are no models.
    """
    if not models:
        raise ValueError("A score chart needs at least one model.")
    names = list(models)
    values = np.array([getattr(models[name], measure) for name in names])
    bounds = np.array([models[name].intervals[measure] for name in names])
    # A percentile interval may lie on one side of the mean; an error bar cannot.
    reach = np.maximum(0, np.stack([values - bounds[:, 0], bounds[:, 1] - values]))

    def draw(axes: Axes, colour: Palette) -> None:
        places = np.arange(len(names))[::-1]
        axes.errorbar(
            values, places, xerr=reach, fmt="o", color=colour.accent, ms=6, capsize=3, linewidth=1.6
        )
        for value, place in zip(values, places, strict=True):
            axes.annotate(f"{value:.3f}", (value, place), (0, 8), textcoords="offset points", ha="center")
        # Names are the user's: a pair of dollar signs in one is not mathematics.
        axes.set_yticks(places, [_shortened(name) for name in names], parse_math=False)
        axes.set_ylim(-0.6, len(names) - 0.3)
        axes.set_xlabel(words)
        axes.grid(axis="x")

    spoken = "; ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True))
    return svg(draw, 0.9 + 0.45 * len(names), "scores", f"{words} with 95 % intervals: {spoken}.")


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
