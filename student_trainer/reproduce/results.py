"""``results.json``: every cell with its numbers, what the paper has beside them, and which claims held.

In: the fields below, or the bytes of the file. Out: the file, or a checked document.
A run replaces the tables that it was asked for and keeps the others, so one page grows over several runs.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from student_trainer.errors import InvalidInput
from student_trainer.reproduce.claims import Answer, Difference
from student_trainer.reproduce.columns import Column
from student_trainer.reproduce.definition import Fact, Plot, Value
from student_trainer.trials.files import write_whole
from student_trainer.trials.records import Cell


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LineResult(_Part):
    """A row with one student, as far as its cells are done."""

    row: str
    title: str
    student: str
    network: str
    learns_from: str
    group: str
    values: dict[str, Value]
    """Of what the table's ``each`` lists; ``images`` is the number that was used."""
    images: int | None
    """That were asked for here."""
    paper_images: int | None
    changes: tuple[str, ...]
    cells: tuple[Cell, ...]
    planned: int
    """Cells, done or not."""
    left_out: str
    paper_student: str | None
    """Whose numbers the paper's are: this student's where it has them."""
    paper: tuple[float | None, ...]
    against: str | None
    gaps: dict[str, Difference]
    """Column -> this row minus the one that it is compared with."""

    def by_seed(self, column: Column) -> dict[int | None, float]:
        """Seed -> what was measured, where it was."""
        found = {cell.seed: cell.measures.get(column.key) for cell in self.cells}
        return {seed: value for seed, value in found.items() if value is not None}


class Finding(_Part):
    """A claim on one column."""

    column: str
    answer: Answer
    gap: Difference | None
    reason: str = ""
    """Why nobody can tell, where it is not that the interval holds both answers."""


class ClaimResult(_Part):
    """A claim with one student."""

    says: str
    student: str
    rows: tuple[str, ...]
    at_least: float | None
    findings: tuple[Finding, ...]
    paper: dict[str, float]
    """Column of the paper -> its own difference, in its points."""


class TableResult(_Part):
    """A table as it was measured."""

    name: str
    title: str
    source: str
    text: str
    measured_on: str
    """One sentence."""
    settings: tuple[str, ...]
    """What was used here, in sentences."""
    columns: tuple[Column, ...]
    facts: tuple[Fact, ...] = ()
    paper_columns: tuple[str, ...]
    lines: tuple[LineResult, ...]
    claims: tuple[ClaimResult, ...]
    plots: tuple[Plot, ...]
    command: str
    failures: dict[str, str]
    """Cell -> why it failed in the last run."""


class Results(_Part):
    """The whole document."""

    format: Literal["ration-reproduction/1"] = "ration-reproduction/1"
    tables: dict[str, TableResult] = {}

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            StorageFailed: it cannot be written.
        """
        write_whole(path, self.model_dump_json(indent=1) + "\n")


def read_results(path: Path) -> Results:
    """What earlier runs left; nothing where there is no file.

    Raises:
        InvalidInput: the file is something else.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Results()
    except ValidationError as error:
        raise InvalidInput(
            f"{path} is not what reproduce writes ({error.errors()[0]['msg']}). Move it away: the cells "
            "beside it are kept, and the same command writes it anew."
        ) from None
