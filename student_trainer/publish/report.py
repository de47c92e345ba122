"""The report: one HTML page that needs nothing else, neither a network nor a script.

In: the facts of a run. Out: the page as text. Everything that came from a file or a user is escaped by
the template engine; only our own figures are inserted as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePath

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from student_trainer.curve.figure import quality_curve
from student_trainer.evaluate.document import BEFORE, Evaluation, Example, ModelScores, Ranking
from student_trainer.evaluate.examples import RULE
from student_trainer.evaluate.sides import differences, scales_of
from student_trainer.publish import figures, wording
from student_trainer.publish.facts import RunFacts
from student_trainer.publish.thumbnails import Thumbnails

TEMPLATES = Path(__file__).parent / "templates"
UNKNOWN = "–"


@dataclass(frozen=True)
class ScoreRow:
    """One model's row of the table; texts only."""

    name: str
    objective: str
    headline: str
    """By the measure that stands for a model."""
    interval: str
    other: str
    """The other average precision."""
    mp_at_10: str
    recall_at_1: str
    gain: str
    """Empty where there is nothing to compare with."""
    images_bought: str
    dim: str
    parameters: str
    file_size: str
    image_size: str
    scales: str
    asymmetric: str
    """Fit or unfit; of a line that asked the teacher's database, by what."""


@dataclass(frozen=True)
class SetupRow:
    """One model's row in one setup of a benchmark; texts only."""

    name: str
    setup: str
    map_trapezoid: str
    interval: str
    """Empty where there is none."""
    map_step: str
    mp_at_1: str
    mp_at_5: str
    mp_at_10: str
    queries: str


@dataclass(frozen=True)
class Picture:
    """An image of a strip."""

    name: str
    uri: str | None
    relevant: bool = True


@dataclass(frozen=True)
class Strip:
    """One model's best images for a query."""

    model: str
    ap_step: str
    right: int
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class ExampleView:
    """A query and its strips."""

    query: Picture
    label: str
    why: str
    relevant_in_database: int
    strips: tuple[Strip, ...]


def build_page(facts: RunFacts) -> str:
    """Render the page; parts that are missing are named with the command that makes them."""
    evaluation = facts.evaluation
    template = environment().get_template("report.html.j2")
    return template.render(
        facts=facts,
        headline=wording.headline(facts),
        spent=wording.spent(facts),
        evaluation=evaluation,
        rows=tuple(_rows(evaluation)) if evaluation else (),
        setup_rows=tuple(_setup_rows(evaluation)) if evaluation else (),
        sides=differences(evaluation) if evaluation else "",
        chart=_chart(evaluation) if evaluation else None,
        curve=Markup(figures.training_curve(facts.training.steps)) if facts.training.steps else None,  # noqa: S704
        validation=Markup(figures.validation_curve(facts.training.watched))  # noqa: S704
        if facts.training.watched
        else None,
        quality=Markup(quality_curve(facts.curve)) if facts.curve else None,  # noqa: S704
        examples=tuple(_examples(evaluation)) if evaluation else (),
        rule=RULE,
        version=version("ration"),
    )


def environment() -> Environment:
    """The template engine: everything is escaped, and what a template asks for must be there."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _chart(evaluation: Evaluation) -> Markup:
    protocol = evaluation.protocol
    chart = figures.score_chart(evaluation.models, protocol.headline_measure, protocol.headline_words)
    return Markup(chart)  # noqa: S704


def _rows(evaluation: Evaluation) -> Iterator[ScoreRow]:
    protocol = evaluation.protocol
    for name, model in evaluation.models.items():
        low, high = model.intervals[protocol.headline_measure]
        bought = 0 if name == BEFORE else model.images_bought
        yield ScoreRow(
            name=name,
            objective=model.objective or "",
            headline=f"{evaluation.headline_score(model):.3f}",
            interval=f"{low:.3f} to {high:.3f}",
            other=f"{getattr(model, protocol.other_measure):.3f}",
            mp_at_10=f"{model.mp_at_10:.3f}",
            recall_at_1=f"{model.recall_at_1:.3f}",
            gain=_gain(model),
            images_bought=UNKNOWN if bought is None else f"{bought:,}",
            dim=f"{model.dim:,}",
            parameters=UNKNOWN if model.parameters is None else f"{model.parameters:,}",
            file_size=UNKNOWN if model.file_bytes is None else wording.megabytes(model.file_bytes),
            image_size=UNKNOWN if model.image_size is None else f"{model.image_size:,} px",
            scales=scales_of(model, evaluation),
            asymmetric=model.fitness or UNKNOWN,
        )


def _setup_rows(evaluation: Evaluation) -> Iterator[SetupRow]:
    """Nothing where it is not a benchmark."""
    facts = evaluation.protocol.benchmark
    for name, model in evaluation.models.items():
        for setup, line in model.setups.items():
            low, high = line.intervals.get("map_trapezoid", (None, None))
            yield SetupRow(
                name=name,
                setup=facts.setups[setup] if facts else setup,
                map_trapezoid=_score(line.map_trapezoid),
                interval="" if low is None or high is None else f"{low:.3f} to {high:.3f}",
                map_step=_score(line.map_step),
                mp_at_1=_score(line.mp_at_1),
                mp_at_5=_score(line.mp_at_5),
                mp_at_10=_score(line.mp_at_10),
                queries=f"{line.queries:,}",
            )


def _score(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


def _gain(model: ModelScores) -> str:
    if model.gain_over_before is None or model.gain_interval is None:
        return ""
    low, high = model.gain_interval
    return f"{model.gain_over_before:+.3f} ({low:+.3f} to {high:+.3f})"


def _examples(evaluation: Evaluation) -> Iterator[ExampleView]:
    thumbnails = Thumbnails(Path(evaluation.images_root))
    for example in evaluation.examples:
        yield _example(example, thumbnails)


def _example(example: Example, thumbnails: Thumbnails) -> ExampleView:
    return ExampleView(
        query=Picture(_short_name(example.query), thumbnails.uri(example.query)),
        label=example.label,
        why=example.why,
        relevant_in_database=example.relevant_in_database,
        strips=tuple(_strip(model, ranking, thumbnails) for model, ranking in example.rankings.items()),
    )


def _strip(model: str, ranking: Ranking, thumbnails: Thumbnails) -> Strip:
    pictures = (Picture(_short_name(hit.path), thumbnails.uri(hit.path), hit.relevant) for hit in ranking.top)
    right = sum(hit.relevant for hit in ranking.top)
    return Strip(model, f"{ranking.ap_step:.2f}", right, tuple(pictures))


def _short_name(path: str) -> str:
    """The last two parts of a path: enough to find the image, without its owner's folders."""
    return "/".join(PurePath(path).parts[-2:])
