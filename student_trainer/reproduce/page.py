"""The page of a reproduction: ours beside the paper's, and what held; as Markdown and as HTML.

In: results. Out: ``reproduce.md`` and ``reproduce.html``, and the text of the tables for a terminal.
"""

from collections.abc import Sequence
from pathlib import Path

from student_trainer.reproduce.markdown import as_markdown
from student_trainer.reproduce.results import Results
from student_trainer.trials.files import write_whole


def write_page(results: Results, folder: Path, shown: Sequence[str]) -> str:
    """Write both, and return the Markdown of the tables in ``shown``.

    Raises:
        StorageFailed: they cannot be written.
    """
    write_whole(folder / "reproduce.md", as_markdown(results, list(results.tables)))
    return as_markdown(results, shown)
