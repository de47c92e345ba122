"""The page as Markdown, to stand alone or in another document.

In: tables as texts, and the files of their figures. Out: text.
"""

from collections.abc import Iterator, Mapping, Sequence

from student_trainer.reproduce.claims import RULE
from student_trainer.reproduce.view import ClaimView, RowView, TableView, headline


def as_markdown(tables: Sequence[TableView], figures: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """The tables, in their order.

    Args:
        tables: what is shown.
        figures: name of a table -> (description, path from the page) of each of its figures.
    """
    lines = [f"{headline(tables)}", "", f"How claims are judged: {RULE}", ""]
    said: dict[tuple[str, ...], str] = {}
    for table in tables:
        lines += _table(table, said, figures.get(table.result.name, ()))
    return "\n".join(lines)


def _table(
    table: TableView, said: dict[tuple[str, ...], str], figures: Sequence[tuple[str, str]]
) -> Iterator[str]:
    result = table.result
    yield from (f"## {table.name}", "")
    if result.text:
        yield from (result.text, "")
    setting = (result.measured_on, *result.settings, *table.definitions)
    if (key := (*setting, result.command)) in said:
        yield from (f"Setting and command as in {said[key]}. {table.effort} {table.paper_note}".rstrip(), "")
    else:
        said[key] = table.name
        told = " ".join(filter(None, (result.measured_on, *result.settings)))
        yield f"{told} {table.effort} {table.paper_note}".rstrip()
        yield from ("", "```bash", result.command, "```", "")
        yield from (*(f"- {definition}" for definition in table.definitions), "")
    yield from _rows(table)
    for description, path in figures:
        yield from (f"![{description}]({path})", "")
    if table.claims:
        yield from _claims(table.claims)
    for cell, reason in result.failures.items():
        yield from (f"- failed: `{cell}`: {reason}", "")


def _rows(table: TableView) -> Iterator[str]:
    gap = ["difference (points)"] if table.has_gaps else []
    ours = [measure.title for measure in table.measures if measure.column is not None]
    paper = [measure.title for measure in table.measures if measure.column is None]
    yield from _grid(
        ["row", "images", *table.facts, "seeds", *ours, *gap, *paper],
        [_cells(row, table) for row in table.rows],
    )
    yield ""
    left_out = _left_out(table.rows)
    if said := [*left_out, *table.notes]:
        yield from (*(f"- {sentence}" for sentence in said), "")


def _left_out(rows: Sequence[RowView]) -> list[str]:
    """A sentence for each reason, with all of its rows."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            by_reason.setdefault(row.note, []).append(row.title)
    return [
        f"{', '.join(titles)} {'is' if len(titles) == 1 else 'are'} left out: {reason}"
        for reason, titles in by_reason.items()
    ]


def _cells(row: RowView, table: TableView) -> list[str]:
    pairs = list(zip(table.measures, row.numbers, strict=True))
    ours = [number.text for measure, number in pairs if measure.column is not None]
    paper = [number.text for measure, number in pairs if measure.column is None]
    gap = [row.gap] if table.has_gaps else []
    return [row.title, row.images, *row.facts, row.seeds, *ours, *gap, *paper]


def _claims(claims: Sequence[ClaimView]) -> Iterator[str]:
    yield from _grid(
        ["claim", "on", "difference (points)", "held?", "in the paper"],
        [[claim.says, claim.column, claim.gain, _answer(claim), claim.paper] for claim in claims],
    )
    yield ""


def _answer(claim: ClaimView) -> str:
    return f"**{claim.answer}**{f': {claim.reason}' if claim.reason else ''}"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(text.replace('|', '/') for text in row)} |"
