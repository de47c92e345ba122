"""What a table compares, read from TOML: its rows, its claims and its plots.

In: the name of a table that comes with the package, or a TOML file. Out: a :class:`Table`, every row spelled
out. A row with ``each`` stands for one row for every combination of the values it lists.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from student_trainer.acquire.selection.choice import METHODS, RANDOM
from student_trainer.errors import InvalidInput
from student_trainer.nearest import nearest
from student_trainer.recipe_checks import explain
from student_trainer.reproduce.expand import expanded

SHIPPED = Path(__file__).parent / "tables"
"""The folder of the tables that come with the package."""

Value = str | int | float | bool
"""What ``each`` lists."""
Network = Literal["trained", "before", "teacher"]
Lesson = Literal["teacher", "labels", "teacher and labels", "all labels"]
Fact = Literal["tau", "alone", "neighbours", "first loss", "last loss", "step"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Row(_Part):
    """One line of a table: a network, what it learns from, and what the paper found."""

    id: str
    """By which claims, plots and ``--only`` name it."""
    name: str = ""
    """On the page; ``{images}`` becomes the number of images that were used."""
    network: Network = "trained"
    """``before``: the student before its first step; ``teacher``: the checkpoint that was given."""
    recipe: str | None = None
    """Objective, training and averaging of another recipe; student and images stay the run's."""
    set: tuple[str, ...] = ()
    """Changes of the recipe, ``section.key=value``."""
    learns_from: Lesson = "teacher"
    """Bought descriptors, labels of the same images, both, or the labels of all training images."""
    images: Annotated[int, Field(ge=2)] | None = None
    """The paper's number of images, of which the size of the transfer set may make another one
    (:mod:`student_trainer.reproduce.sizes`); None: all that were bought."""
    sparse: Annotated[int, Field(ge=0)] | None = None
    """Only images that have at most so many of the others above tau."""
    selection: str = RANDOM
    """A strategy of ``plan --selection``, which chooses among all that were bought."""
    against: str | None = None
    """A row that this one is compared with, seed by seed."""
    paper: dict[str, tuple[float | None, ...]] = {}
    """Architecture -> the paper's numbers, in the order of the table's ``paper_columns``."""
    each: dict[str, Value] = {}
    """The values that this row has of what the table's ``each`` lists."""
    group: str = ""
    """The rows that came from the same ``each`` share it."""

    @property
    def title(self) -> str:
        """The name, or the id where there is none."""
        return self.name or self.id


class Claim(_Part):
    """That one row is better than another, by more than ``at_least`` or at all."""

    says: str
    better: str
    than: str
    more_than: tuple[str, str] | None = None
    """Two other rows: the claim is that the first gain is larger than theirs."""
    on: str | None = None
    """The one column that it is about; None: all that are tested."""
    at_least: float | None = None
    """In points of the measure (0.02 is two): the difference is above it; may be negative."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Every row that it is about."""
        return (self.better, self.than, *(self.more_than or ()))


class Plot(_Part):
    """Quality against one of the listed values."""

    x: str
    """``images``, or a name in ``each``."""
    lines: dict[str, str]
    """Group of rows -> its name in the figure. Other values that the group lists make a line each, and may
    stand in the name: ``mixing, alpha {alpha}``."""


class Table(_Part):
    """A whole table."""

    name: str
    title: str
    source: str = ""
    """Where the paper has it."""
    text: str = ""
    """What is compared, for the page."""
    measures: Literal["retrieval", "whitened", "cost", "methods"] = "retrieval"
    sizes: Literal["in proportion", "as stated"] = "in proportion"
    """Where fewer images were bought than a row names: all rows shrink, or this one is left out."""
    facts: tuple[Fact, ...] = ()
    """Columns beside the measures: of the images (the share that is alone above tau, their neighbours), or of
    the training."""
    paper_columns: tuple[str, ...] = ()
    rows: Annotated[tuple[Row, ...], Field(alias="row", min_length=1)]
    claims: Annotated[tuple[Claim, ...], Field(alias="claim")] = ()
    plots: Annotated[tuple[Plot, ...], Field(alias="plot")] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        ids = [row.id for row in self.rows]
        if len(set(ids)) < len(ids):
            twice = next(name for name in ids if ids.count(name) > 1)
            raise ValueError(f"two rows have the id {twice!r}")
        named = [name for claim in self.claims for name in claim.rows]
        named += [row.against for row in self.rows if row.against is not None]
        for name in named:
            if name not in ids:
                raise ValueError(f"there is no row {name!r}.{nearest(name, ids)}")
        groups = {row.group for row in self.rows}
        for group in (group for plot in self.plots for group in plot.lines):
            if group not in groups:
                raise ValueError(f"no rows have the group {group!r}.{nearest(group, groups)}")
        for row in self.rows:
            if row.selection not in METHODS:
                raise ValueError(f"there is no selection {row.selection!r}.{nearest(row.selection, METHODS)}")
            if row.sparse is not None and row.selection != RANDOM:
                raise ValueError(f"row {row.id!r} has both sparse and selection; they exclude each other")
            if any(len(numbers) != len(self.paper_columns) for numbers in row.paper.values()):
                raise ValueError(
                    f"row {row.id!r} has not one number of the paper for each of the "
                    f"{len(self.paper_columns)} paper_columns"
                )
        return self

    @property
    def compares_selections(self) -> bool:
        """Whether strategies choose the images of some rows; those of the others are then drawn at random."""
        return any(row.selection != RANDOM for row in self.rows)

    def row(self, name: str) -> Row:
        """The row of that id."""
        return next(row for row in self.rows if row.id == name)


_PARTS: dict[str, type[BaseModel]] = {"row": Row, "claim": Claim, "plot": Plot}


def shipped_tables() -> list[str]:
    """Names of the tables that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def read_table(name_or_path: str) -> Table:
    """Read a table.

    Raises:
        InvalidInput: no such table, not TOML, or rows, claims or plots that do not fit together.
    """
    path = _find(name_or_path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"The table {path} is not TOML: {error}.") from None
    return parse_table(document, path.stem)


def parse_table(document: dict[str, Any], name: str) -> Table:
    """The same from what TOML holds.

    Raises:
        InvalidInput: as :func:`read_table`.
    """
    try:
        return Table.model_validate({**expanded(document), "name": name})
    except ValidationError as error:
        raise InvalidInput(f"The table {name}: {_explained(error.errors()[0])}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"The table {name}: {error}.") from None


def _explained(error: ErrorDetails) -> str:
    """One sentence; of a row, a claim or a plot with its number."""
    kind, *place = error["loc"] or ("",)
    if kind not in _PARTS or not place:
        return explain(error, Table)
    number, *within = place
    inside = explain({**error, "loc": tuple(within)}, _PARTS[str(kind)])
    return f"{kind} {int(number) + 1}: {inside}"


def _find(name_or_path: str) -> Path:
    shipped = SHIPPED / f"{name_or_path}.toml"
    if shipped.parent == SHIPPED and shipped.is_file():
        return shipped
    if (path := Path(name_or_path)).is_file():
        return path
    known = shipped_tables()
    raise InvalidInput(
        f"There is no table {name_or_path!r}, neither among those of the package ({', '.join(known)}) nor as "
        f"a file.{nearest(name_or_path, known)}"
    )
