"""What a run used, in sentences for the page.

In: the words of the command line, what was opened, and the rows that were planned. Out: sentences.
"""

import shlex
from collections.abc import Iterator, Sequence

from student_trainer.recipe import Recipe
from student_trainer.reproduce.planning import Line
from student_trainer.reproduce.pool import Pool
from student_trainer.reproduce.row_recipes import name_of_method
from student_trainer.reproduce.setting import Setting

_ABOUT_THIS_RUN = ("--list", "--page-only", "--json")


def sentences(setting: Setting, lines: Sequence[Line], *, beside_strategies: bool = False) -> Iterator[str]:
    """What the trainings of a table had in common, and which of them did not have it.

    Args:
        setting: what the run was given.
        lines: of the table.
        beside_strategies: the table compares strategies of choice, so that the others draw at random.
    """
    trained = [line.row for line in lines if line.row.network == "trained"]
    if not trained:
        return
    yield _recipe(setting)
    if others := list(_other_lengths(setting, lines)):
        yield f"Otherwise: {'; '.join(others)}."
    if exempt := dict.fromkeys(f"{line.row.id} ({line.own_length})" for line in lines if line.own_length):
        yield f"Not as many steps, but the epochs of their recipe, have: {', '.join(exempt)}."
    if setting.pool is not None and any(row.learns_from != "all labels" for row in trained):
        yield from _bought(setting, setting.pool, beside_strategies=beside_strategies)
    if setting.labelled is not None and any(row.learns_from == "all labels" for row in trained):
        yield f"All labels are those of {len(setting.labelled):,} images."


def command(words: Sequence[str]) -> str:
    """The command line, without what only this run was to do."""
    return shlex.join(["student-trainer", *(word for word in words if word not in _ABOUT_THIS_RUN)])


def _bought(setting: Setting, pool: Pool, *, beside_strategies: bool) -> Iterator[str]:
    drawn = beside_strategies or not pool.in_order_of_choice
    order = "others for each seed" if drawn else "the first that were chosen"
    yield f"{len(pool.data):,} images were bought; smaller sets are parts of larger ones, {order}."
    if beside_strategies and pool.in_order_of_choice:
        yield "What was bought had itself been chosen by a strategy: all rows choose among these images."
    if both := setting.measured.among(pool.data.images):
        yield (
            f"{len(both):,} of the bought images are measured on too: students that learned from them are "
            "shown better than they are."
        )


def _recipe(setting: Setting) -> str:
    given = setting.given
    recipe = next(iter(setting.students.values()))
    changes = f" with {', '.join(given.changes)}" if given.changes else ""
    looks = recipe.images.view.words(recipe.images.longest_side_px)
    return (
        f"Recipe {given.recipe}{changes}: images of {looks}, {_length(recipe)}"
        f"{_of_equal_steps(setting)}; rows differ in what they name."
    )


def _of_equal_steps(setting: Setting) -> str:
    equal = setting.given.equal_steps and setting.pool is not None
    return ", and for every size as many steps as all bought images have" if equal else ""


def _other_lengths(setting: Setting, lines: Sequence[Line]) -> Iterator[str]:
    """Rows that take another recipe's method, or have another length, batch or rate."""
    usual = {_length(recipe) for recipe in setting.students.values()}
    told: dict[str, None] = {}
    for line in lines:
        if line.recipe is None:
            continue
        name, length = name_of_method(line.row, setting), _length(line.recipe)
        if name is not None:
            told[f"{line.row.id} by recipe {name}, {length}"] = None
        elif length not in usual:
            told[f"{line.row.id}, {length}"] = None
    yield from told


def _length(recipe: Recipe) -> str:
    training = recipe.training
    epochs = f"{training.epochs} epoch{'' if training.epochs == 1 else 's'}"
    return f"{epochs}, batches of at most {training.batch_size:,}, learning rate {training.learning_rate:g}"
