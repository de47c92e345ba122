"""The words of the command line, as they were given.

In: options. Out: a frozen record of them; nothing is opened.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from student_trainer.errors import InvalidInput
from student_trainer.nearest import nearest


@dataclass(frozen=True)
class MeasureOn:
    """Those that are about measuring."""

    manifest: Path | None = None
    split: str | None = None
    datasets: tuple[str, ...] = ()
    root: Path | None = None
    image_size: int | None = None
    teacher_image_size: int | None = None
    scales: tuple[float, ...] | None = None
    """None: one on a manifest, the paper's three on benchmarks."""


@dataclass(frozen=True)
class Arguments:
    """All that decide what is trained and measured."""

    recipe: str
    changes: tuple[str, ...] = ()
    students: tuple[str, ...] = ()
    """``ARCH`` or ``ARCH=WEIGHTS``; empty: the recipe's own."""
    recipe_for: tuple[str, ...] = ()
    """``ROW=RECIPE``."""
    transfer_set: Path | None = None
    measure_on: MeasureOn = field(default_factory=MeasureOn)
    train_split: str | None = None
    sfm120k: Path | None = None
    teacher: Path | None = None
    seeds: int = 3
    sizes: str | None = None
    equal_steps: bool = False
    """As many steps for every training as one on all bought images has, instead of as many epochs."""
    keep_students: bool = False

    @cached_property
    def row_recipes(self) -> dict[str, str]:
        """Row -> the recipe that it takes in place of the table's.

        Raises:
            InvalidInput: an option is not of the form ``ROW=RECIPE``.
        """
        recipes = {}
        for row_and_recipe in self.recipe_for:
            row, equals, recipe = row_and_recipe.partition("=")
            if not (row and equals and recipe):
                raise InvalidInput(f"--recipe-for {row_and_recipe!r} is not of the form ROW=RECIPE.")
            recipes[row] = recipe
        return recipes

    def check_rows(self, ids: Iterable[str]) -> None:
        """Refuse a recipe for a row that is in no table.

        Raises:
            InvalidInput: there is no such row.
        """
        known = list(dict.fromkeys(ids))
        for row, recipe in self.row_recipes.items():
            if row not in known:
                raise no_such_row(f"--recipe-for {row}={recipe}", row, known)


def no_such_row(option: str, name: str, known: Iterable[str]) -> InvalidInput:
    """The refusal of an option that names a row which no table has."""
    ids = list(known)
    return InvalidInput(f"{option}: there is no such row; there are {', '.join(ids)}.{nearest(name, ids)}")
