"""The page as Markdown, to stand alone or in another document.

In: results. Out: text.
"""

from collections.abc import Iterator, Sequence

from student_trainer.reproduce.claims import RULE
from student_trainer.reproduce.results import Results
from student_trainer.reproduce.view import ClaimView, TableView, view


def as_markdown(results: Results, shown: Sequence[str]) -> str:
    """The tables in ``shown``, in that order."""
    parts = [line for name in shown for line in _table(view(results.tables[name]))]
    return "\n".join([*parts, f"How claims are judged: {RULE}", ""])


def _table(table: TableView) -> Iterator[str]:
    result = table.result
    source = f" ({result.source} of the paper)" if result.source else ""
    yield f"## {result.title}{source}"
    yield ""
    yield " ".join(filter(None, [result.text, result.measured_on, *result.settings, table.paper_note]))
    yield ""
    yield "```bash"
    yield result.command
    yield "```"
    yield ""
    ours = [*table.columns, *(["difference (points)"] if table.has_gaps else [])]
    yield from _grid(
        ["row", "images", "seeds", *ours, *(f"paper {column}" for column in table.paper_columns)],
        [
            [
                row.title,
                row.images,
                row.seeds,
                *(row.ours or ("–",) * len(table.columns)),
                *([row.gap] if table.has_gaps else []),
                *row.paper[: len(table.paper_columns)],
            ]
            for row in table.rows
        ],
    )
    for row in table.rows:
        if row.note:
            yield f"- {row.title}: {row.note}"
    yield ""
    if table.claims:
        yield from _claims(table.claims)
    for cell, reason in result.failures.items():
        yield f"- failed: `{cell}`: {reason}"


def _claims(claims: Sequence[ClaimView]) -> Iterator[str]:
    yield from _grid(
        ["claim", "on", "difference (points)", "held?", "in the paper"],
        [[claim.says, claim.column, claim.gain, f"**{claim.answer}**", claim.paper] for claim in claims],
    )
    yield ""


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(text.replace('|', '/') for text in row)} |"
