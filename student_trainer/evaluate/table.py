"""An evaluation as plain text for a terminal.

In: the evaluation document. Out: the protocol in words, an aligned table, and the gains.
"""

from student_trainer.evaluate.document import BEFORE, Evaluation, Interval, ModelScores

HEADER = ("model", "mAP (step)", "mAP (trapezoidal)", "mP@10", "recall@1", "dim", "parameters", "image px")


def as_text(evaluation: Evaluation) -> str:
    """The whole evaluation, 110 columns or less for usual names."""
    rows = [HEADER, *(_row(name, model) for name, model in evaluation.models.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    table.insert(1, "  ".join("-" * width for width in widths))
    parts = [evaluation.protocol.sentence(), "", *(line.rstrip() for line in table), ""]
    parts.append(f"In brackets: {evaluation.protocol.intervals}.")
    parts.extend(_gains(evaluation))
    return "\n".join(parts)


def with_interval(value: float, bounds: Interval) -> str:
    """A score and its interval, such as ``0.467 [0.431, 0.502]``."""
    return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def _row(name: str, model: ModelScores) -> tuple[str, ...]:
    return (
        f"{name} ({model.objective})" if model.objective else name,
        with_interval(model.map_step, model.intervals["map_step"]),
        with_interval(model.map_trapezoid, model.intervals["map_trapezoid"]),
        f"{model.mp_at_10:.3f}",
        f"{model.recall_at_1:.3f}",
        f"{model.dim:,}",
        f"{model.parameters:,}",
        f"{model.image_size:,}",
    )


def _gains(evaluation: Evaluation) -> list[str]:
    return [
        f"{name} against {BEFORE}, query by query: mAP (step) {model.gain_over_before:+.3f} "
        f"[{model.gain_interval[0]:+.3f}, {model.gain_interval[1]:+.3f}]."
        for name, model in evaluation.models.items()
        if model.gain_over_before is not None and model.gain_interval is not None
    ]
