"""A run: tables planned on a setting, their cells run, the page written of what is done.

In: tables, the words of the command line, a folder. Out: the folder's cells, ``results.json`` and the page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from student_trainer.errors import InvalidInput
from student_trainer.lock import exclusive
from student_trainer.reproduce.arguments import Arguments, no_such_row
from student_trainer.reproduce.definition import Table, read_table
from student_trainer.reproduce.inputs import open_setting
from student_trainer.reproduce.page import as_text, write_page
from student_trainer.reproduce.planning import Line, lines_of, names_of, tasks_of
from student_trainer.reproduce.results import Results, read_results
from student_trainer.reproduce.setting import Setting
from student_trainer.reproduce.settling import Run, table_result
from student_trainer.reproduce.wording import command, sentences
from student_trainer.reproduce.workers import Failure, run_all
from student_trainer.run_folder import RunFolder
from student_trainer.trials.cells import Task
from student_trainer.trials.file_digests import FileDigests

OF_THE_PAPER = ("table1", "table2", "table3", "table4", "table5", "table6", "table7", "figure1")
ALL = "all"
DIGESTS = "digests.json"
"""In the folder: digests of the images that are measured on, so that they are read once."""


@dataclass(frozen=True)
class Reproduction:
    """What is to be run, and where."""

    tables: Sequence[Table]
    setting: Setting
    lines: dict[str, list[Line]]
    """By table; all of its rows, since the page shows what earlier runs did."""
    tasks: Sequence[Task]
    """Of the rows that were asked for."""
    folder: Path

    @property
    def cells(self) -> Path:
        """Folder of the cells."""
        return self.folder / "cells"

    @property
    def document(self) -> Path:
        """Every cell with its numbers."""
        return self.folder / "results.json"

    @cached_property
    def names(self) -> dict[str, str]:
        """Cell -> the rows that it is for."""
        return names_of(self.lines)

    def run(self, jobs: int, say: Callable[[str], None]) -> list[Failure]:
        """Run every cell that is not done.

        Raises:
            InvalidInput: another run is at work in the folder, or its results are something else.
        """
        read_results(self.document)  # refuses before hours of work
        with exclusive(RunFolder.create(self.folder)):
            return run_all(self.tasks, self.cells, jobs, say, self.names)

    def write(self, failures: Sequence[Failure], words: Sequence[str]) -> tuple[Results, str]:
        """Write results and page of what is done; the results, and the text of these tables.

        Args:
            failures: of the last run.
            words: of the command line, for the page.

        Raises:
            InvalidInput: the folder's results are something else.
            StorageFailed: they cannot be written.
        """
        reasons = {failure.cell: failure.reason for failure in failures}
        measured = {}
        for table in self.tables:
            lines = self.lines[table.name]
            said = sentences(self.setting, lines, beside_strategies=table.compares_selections)
            run = Run(command(words), tuple(said), reasons)
            measured[table.name] = table_result(table, lines, self.cells, run)
        results = Results(tables={**read_results(self.document).tables, **measured})
        results.write(self.document)
        write_page(results, self.folder)
        return results, as_text(results, list(measured))


def planned(names: Sequence[str], only: Sequence[str], given: Arguments, folder: Path) -> Reproduction:
    """Read the tables, open the inputs, and plan the cells; nothing is trained, and nothing written
    but the digests of the images that are measured on.

    Args:
        names: of tables, or files; ``all`` for the paper's.
        only: ids of rows to run, with ``*`` for anything; empty for all.
        given: everything else.
        folder: of the cells and the page.

    Raises:
        InvalidInput: something is missing, does not fit, or leaves nothing to run.
    """
    wished = [name for word in names for name in (OF_THE_PAPER if word == ALL else (word,))]
    tables = [read_table(name) for name in dict.fromkeys(wished)]
    rows = _rows(tables, only)
    given.check_rows(row.id for table in tables for row in table.rows)
    setting = open_setting(given, FileDigests(folder / DIGESTS))
    lines = {table.name: lines_of(table, setting) for table in tables}
    asked = [line for of_table in lines.values() for line in of_table if line.row.id in rows]
    if all(line.left_out for line in asked):
        reasons = dict.fromkeys(line.left_out for line in asked)
        raise InvalidInput(f"None of the rows can be had: {'; '.join(reasons)}.")
    return Reproduction(tables, setting, lines, tasks_of(asked), folder)


def _rows(tables: Sequence[Table], patterns: Sequence[str]) -> set[str]:
    """Ids of the rows that were asked for."""
    ids = list(dict.fromkeys(row.id for table in tables for row in table.rows))
    found = set() if patterns else set(ids)
    for pattern in patterns:
        matching = [name for name in ids if fnmatch(name, pattern)]
        if not matching:
            raise no_such_row(f"--only {pattern}", pattern, ids)
        found.update(matching)
    return found
