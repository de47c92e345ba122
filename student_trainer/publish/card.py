"""The model card: what a stranger must know before using the student.

In: the facts of a run. Out: Markdown, with counts but no private paths, and a number of queries only
where a certificate that holds states it.
"""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from student_trainer.evaluate.document import STUDENT
from student_trainer.evaluate.sides import differences, scales_of
from student_trainer.publish import wording
from student_trainer.publish.facts import RunFacts

TEMPLATES = Path(__file__).parent / "templates"


def build_card(facts: RunFacts) -> str:
    """Render the card; parts that are missing say so."""
    evaluation = facts.evaluation
    # Markdown, so HTML escaping would be wrong: every value from outside goes through ``md`` instead.
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = as_markdown
    return environment.get_template("model_card.md.j2").render(
        facts=facts,
        headline=wording.headline(facts),
        spent=wording.spent(facts),
        evaluation=evaluation,
        student=evaluation.models.get(STUDENT) if evaluation else None,
        objective=dict(facts.recipe).get("objective.name"),
        sides=differences(evaluation) if evaluation else "",
        scales_of=scales_of,
        megabytes=wording.megabytes,
    )


def as_markdown(text: object) -> str:
    """Text in which nothing is markup, HTML or the end of a table cell."""
    one_line = " ".join(str(text).split())
    return re.sub(r"([\\`*_{}\[\]<>|#~&$!])", r"\\\1", one_line)
