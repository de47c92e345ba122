"""The page of a reproduction: ours beside the paper's, and what held; as HTML and as Markdown.

In: results. Out: ``reproduce.html``, which needs nothing else, ``reproduce.md`` and the figures that it
names; and the text of some tables for a terminal.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from student_trainer.publish.report import environment
from student_trainer.reproduce.claims import RULE
from student_trainer.reproduce.markdown import as_markdown
from student_trainer.reproduce.plots import sweeps
from student_trainer.reproduce.results import Results
from student_trainer.reproduce.sweep_figure import sweep_figure, sweep_picture
from student_trainer.reproduce.view import TableView, headline, view
from student_trainer.trials.files import write_whole

HTML, MARKDOWN, FIGURES = "reproduce.html", "reproduce.md", "figures"


def write_page(results: Results, folder: Path) -> None:
    """Write both forms of the page, and the figures of the Markdown.

    Raises:
        StorageFailed: they cannot be written.
    """
    tables = [view(table) for table in results.tables.values()]
    write_whole(folder / HTML, as_html(tables))
    figures = {table.result.name: _pictures(table, folder) for table in tables}
    write_whole(folder / MARKDOWN, as_markdown(tables, figures))


def as_text(results: Results, shown: Sequence[str]) -> str:
    """Some of the tables, for a terminal."""
    return as_markdown([view(results.tables[name]) for name in shown], {})


def as_html(tables: Sequence[TableView]) -> str:
    """The page; everything that a user named is escaped, only our own figures are inserted as they are."""
    figures = {
        table.result.name: [
            Markup(sweep_figure(sweep, f"{table.result.name}-{place}"))  # noqa: S704
            for place, sweep in enumerate(sweeps(table.result))
        ]
        for table in tables
    }
    return (
        environment()
        .get_template("reproduce.html.j2")
        .render(
            tables=tables, figures=figures, headline=headline(tables), rule=RULE, version=version("ration")
        )
    )


def _pictures(table: TableView, folder: Path) -> list[tuple[str, str]]:
    found = []
    for place, sweep in enumerate(sweeps(table.result)):
        name = f"{FIGURES}/{table.result.name}-{place + 1}.png"
        write_whole(folder / name, sweep_picture(sweep))
        found.append((sweep.description, name))
    return found
