"""``curve.json`` and ``curve.csv``: quality for each number of queries and seed, and what follows.

In: the fields below, or the bytes of the file. Out: the files, or a checked document.
"""

import csv
import io
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from student_trainer.errors import InvalidInput
from student_trainer.trials.files import write_whole
from student_trainer.trials.words import Words

Answer = Literal["worth buying", "not worth buying", "cannot tell"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cell(_Part):
    """One training: so many of the bought descriptors, one seed."""

    queries: int = Field(ge=2)
    seed: int
    quality: float
    measures: dict[str, float]
    """Everything that was measured, ``quality`` among it under its own name."""
    before: float | None
    """Quality of the student before its first step, where it was measured."""
    epochs: int
    steps: int


class Verdict(_Part):
    """Whether more queries look worth buying."""

    answer: Answer
    sentence: str
    more: int
    """Queries that the answer is about."""
    gain: float | None = None
    """Expected; None where nothing can be said."""
    interval: tuple[float, float] | None = None
    """95 %, over seeds."""


class Curve(_Part):
    """The whole document."""

    format: str = "ration-curve/1"
    yardstick: Words
    subsets: str
    """How the nested subsets were drawn, in words."""
    training: str
    """Whether smaller subsets got as many epochs or as many steps, in words."""
    bought: int
    cells: tuple[Cell, ...] = Field(min_length=1)
    before: float | None
    """Mean quality of the student before its first step."""
    teacher: float | None
    """The teacher's own quality, where its checkpoint was given."""
    verdict: Verdict
    recipe: str
    """Digest of the recipe."""
    transfer_set: str | None
    """Digest of the bought descriptors, those that were held back included."""

    @property
    def sizes(self) -> list[int]:
        """The numbers of queries, ascending."""
        return sorted({cell.queries for cell in self.cells})

    def qualities(self, queries: int) -> dict[int, float]:
        """Seed -> quality, at one size."""
        return {cell.seed: cell.quality for cell in self.cells if cell.queries == queries}

    def write(self, path: Path) -> None:
        """Write the document and, beside it, the cells as CSV.

        Raises:
            StorageFailed: they cannot be written.
        """
        write_whole(path, self.model_dump_json(indent=1) + "\n")
        write_whole(path.with_suffix(".csv"), self._csv())

    def _csv(self) -> str:
        measures = sorted({name for cell in self.cells for name in cell.measures})
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["queries", "seed", "epochs", "steps", *measures])
        for cell in self.cells:
            values = [cell.measures.get(name, "") for name in measures]
            writer.writerow([cell.queries, cell.seed, cell.epochs, cell.steps, *values])
        return text.getvalue()


def read_curve(path: Path) -> Curve:
    """Read and check ``curve.json``.

    Raises:
        InvalidInput: it is not such a document.
    """
    try:
        return Curve.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InvalidInput(
            f"{path} is not a curve ({error.errors()[0]['msg']}). Write it again with: student-trainer curve"
        ) from None
