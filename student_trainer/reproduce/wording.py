"""What a run used, in sentences for the page.

In: the words of the command line, what was opened, and the rows that were planned. Out: sentences.
"""

import shlex
from collections.abc import Iterator, Sequence

from student_trainer.reproduce.planning import Line
from student_trainer.reproduce.setting import Setting

_ABOUT_THIS_RUN = ("--list", "--page-only", "--json")


def sentences(setting: Setting, lines: Sequence[Line]) -> Iterator[str]:
    """What the trainings of a table had in common, and which of them did not have it."""
    trained = [line.row for line in lines if line.row.network == "trained"]
    if not trained:
        return
    yield _recipe(setting)
    if exempt := dict.fromkeys(f"{line.row.id} ({line.own_length})" for line in lines if line.own_length):
        yield f"Not as many steps, but the epochs of their recipe, have: {', '.join(exempt)}."
    if setting.pool is not None and any(row.learns_from != "all labels" for row in trained):
        order = "the first that were chosen" if setting.pool.in_order_of_choice else "others for each seed"
        bought = f"{len(setting.pool.data):,} images were bought"
        yield f"{bought}; smaller sets are parts of larger ones, {order}."
    if setting.labelled is not None and any(row.learns_from == "all labels" for row in trained):
        yield f"All labels are those of {len(setting.labelled):,} images."


def command(words: Sequence[str]) -> str:
    """The command line, without what only this run was to do."""
    return shlex.join(["student-trainer", *(word for word in words if word not in _ABOUT_THIS_RUN)])


def _recipe(setting: Setting) -> str:
    given = setting.given
    recipe = next(iter(setting.students.values()))
    training = recipe.training
    length = f"{training.epochs} epoch{'' if training.epochs == 1 else 's'}"
    if given.equal_steps and setting.pool is not None:
        length = f"as many steps for every size as {length} of all bought images"
    changes = f" with {', '.join(given.changes)}" if given.changes else ""
    return (
        f"Recipe {given.recipe}{changes}: images of {recipe.images.longest_side_px} px, batches of at most "
        f"{training.batch_size:,}, {length}, learning rate {training.learning_rate:g}; rows differ in what "
        "they name."
    )
