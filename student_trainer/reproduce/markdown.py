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
    setting = (result.measured_on, *result.settings)
    if (key := (*setting, result.command)) in said:
        yield from (f"Setting and command as in {said[key]}. {table.effort} {table.paper_note}".rstrip(), "")
    else:
        said[key] = table.name
        yield f"{' '.join(filter(None, setting))} {table.effort} {table.paper_note}".rstrip()
        yield from ("", "```bash", result.command, "```", "")
    yield from _rows(table)
    for description, path in figures:
        yield from (f"![{description}]({path})", "")
    if table.claims:
        yield from _claims(table.claims)
    for cell, reason in result.failures.items():
        yield from (f"- failed: `{cell}`: {reason}", "")


def _rows(table: TableView) -> Iterator[str]:
    gap = ["difference (points)"] if table.has_gaps else []
    paper = [f"paper {column}" for column in table.paper_columns]
    yield from _grid(
        ["row", "images", *table.facts, "seeds", *table.columns, *gap, *paper],
        [_cells(row, table) for row in table.rows],
    )
    yield ""
    left_out = [row for row in table.rows if row.note]
    yield from (f"- {row.title} is left out: {row.note}" for row in left_out)
    if left_out:
        yield ""


def _cells(row: RowView, table: TableView) -> list[str]:
    ours = [" ".join(filter(None, texts)) for texts in row.ours]
    return [
        row.title,
        row.images,
        *row.facts,
        row.seeds,
        *ours,
        *([row.gap] if table.has_gaps else []),
        *row.paper[: len(table.paper_columns)],
    ]


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
