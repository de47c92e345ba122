"""An evaluation as plain text for a terminal.

In: the evaluation document. Out: the protocol in words, aligned tables, what differs between models, and
the gains.
"""

from collections.abc import Iterator, Sequence

from student_trainer.evaluate.document import BEFORE, TEACHER, Evaluation, Interval, ModelScores, SetupLine
from student_trainer.evaluate.sides import differences, scales_of, size_of

UNKNOWN = "-"

COST = "G mult-adds"
"""Thousand million multiply-adds for one square image of the size in the table."""
SETUP_HEADER = ("model", "setup", "mAP (trapezoidal)", "mAP (step)", "mP@1", "mP@5", "mP@10", "queries")
HEADER = ("model", "mAP (step)", "mAP (trapezoidal)", "mP@10", "recall@1", "dim", "parameters", "image px")
RECALL_HEADER = ("model", "recall@1", "recall@2", "recall@4", "recall@8", "asymmetric search", COST)
MODEL_HEADER = ("model", "dim", "parameters", "image px", "scales", "asymmetric search", COST)


def as_text(evaluation: Evaluation) -> str:
    """The whole evaluation, 110 columns or less for usual names."""
    facts = evaluation.protocol.benchmark
    if facts is None:
        lines = [row for name, model in evaluation.models.items() for row in _rows(name, model)]
        table = _aligned(HEADER, lines)
        recalls = [row for name, model in evaluation.models.items() for row in _recall_rows(name, model)]
        table += ["", *_aligned(RECALL_HEADER, recalls)]
    else:
        table = _aligned(
            SETUP_HEADER,
            [
                _setup_row(name, facts.setups[setup], line)
                for name, model in evaluation.models.items()
                for setup, line in model.setups.items()
            ],
        )
        models = [_model_row(name, model, evaluation) for name, model in evaluation.models.items()]
        table += ["", *_aligned(MODEL_HEADER, models)]
    parts = [evaluation.protocol.sentence(), "", *table, ""]
    parts.append(f"In brackets: {evaluation.protocol.intervals}.")
    parts.extend(filter(None, [differences(evaluation)]))
    parts.extend(_gains(evaluation))
    parts.extend(f"{name}{sentence}." for name, model in evaluation.models.items() for sentence in model.news)
    parts.extend(
        f"{name} is {model.asymmetric.sentence}."
        for name, model in evaluation.models.items()
        if model.asymmetric and TEACHER in evaluation.models
    )
    parts.extend(
        f"{name}, {model.hamming.sentence}." for name, model in evaluation.models.items() if model.hamming
    )
    parts.extend(f"{name}: by {model.bridge}." for name, model in evaluation.models.items() if model.bridge)
    return "\n".join(parts)


def _aligned(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rows = [header, *body]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    table.insert(1, "  ".join("-" * width for width in widths))
    return [line.rstrip() for line in table]


def with_interval(value: float, bounds: Interval) -> str:
    """A score and its interval, such as ``0.467 [0.431, 0.502]``."""
    return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def _named(name: str, model: ModelScores) -> str:
    return f"{name} ({model.objective})" if model.objective else name


def _rows(name: str, model: ModelScores) -> Iterator[tuple[str, ...]]:
    """Of a model, and of its binary codes if it makes any."""
    yield _row(name, model)
    if codes := model.hamming:
        unknown = (UNKNOWN,) * 3
        size = f"{codes.bits} bits", f"{codes.parameters:,}", _side(model)
        yield (f"{name}, codes", with_interval(codes.map, codes.map_interval), *unknown, *size)


def _recall_rows(name: str, model: ModelScores) -> Iterator[tuple[str, ...]]:
    yield _recall_row(name, model)
    if codes := model.hamming:
        yield (f"{name}, codes", *(UNKNOWN,) * 5, _billions(codes.multiply_adds))


def _row(name: str, model: ModelScores) -> tuple[str, ...]:
    return (
        _named(name, model),
        with_interval(model.map_step, model.intervals["map_step"]),
        with_interval(model.map_trapezoid, model.intervals["map_trapezoid"]),
        f"{model.mp_at_10:.3f}",
        f"{model.recall_at_1:.3f}",
        f"{model.dim:,}",
        UNKNOWN if model.parameters is None else f"{model.parameters:,}",
        _side(model),
    )


def _side(model: ModelScores) -> str:
    return UNKNOWN if model.image_size is None else f"{model.image_size:,}"


def _recall_row(name: str, model: ModelScores) -> tuple[str, ...]:
    recalls = (model.recall_at_1, model.recall_at_2, model.recall_at_4, model.recall_at_8)
    scores = (UNKNOWN if recall is None else f"{recall:.3f}" for recall in recalls)
    return (_named(name, model), *scores, model.fitness or UNKNOWN, _billions(model.multiply_adds))


def _model_row(name: str, model: ModelScores, evaluation: Evaluation) -> tuple[str, ...]:
    return (
        _named(name, model),
        f"{model.dim:,}",
        UNKNOWN if model.parameters is None else f"{model.parameters:,}",
        size_of(model),
        scales_of(model, evaluation),
        model.fitness or UNKNOWN,
        _billions(model.multiply_adds),
    )


def _billions(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count / 1e9:.4g}"


def _setup_row(name: str, setup: str, line: SetupLine) -> tuple[str, ...]:
    means = (line.map_trapezoid, line.map_step, line.mp_at_1, line.mp_at_5, line.mp_at_10)
    scores = [UNKNOWN if mean is None else f"{mean:.3f}" for mean in means]
    if line.map_trapezoid is not None:
        scores[0] = with_interval(line.map_trapezoid, line.intervals["map_trapezoid"])
    return (name, setup, *scores, f"{line.queries:,}")


def _gains(evaluation: Evaluation) -> list[str]:
    measure = evaluation.protocol.headline_words
    return [
        f"{name} against {BEFORE}, query by query: {measure} {model.gain_over_before:+.3f} "
        f"[{model.gain_interval[0]:+.3f}, {model.gain_interval[1]:+.3f}]."
        for name, model in evaluation.models.items()
        if model.gain_over_before is not None and model.gain_interval is not None
    ]
