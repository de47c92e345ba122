"""The recipe of a row: the run's, or the method of another with ``--set``, and what the row changes in it.

In: a row and the recipe that every row starts from. Out: a recipe that can be trained.
"""

from collections.abc import Sequence
from pathlib import Path

from shared.network import NetworkSpec
from student_trainer.distil.threshold import with_threshold
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe, changed, load
from student_trainer.recipe_checks import AUTO, THRESHOLD, objective_settings
from student_trainer.recipe_sections import IMAGENET, RANDOM
from student_trainer.reproduce.definition import Row
from student_trainer.reproduce.setting import Setting

_OF_THE_METHOD = ("objective", "training", "averaging")
"""Sections that another recipe brings along; student and images stay the run's, ``--set`` included."""
_OF_THE_MACHINE = ("seed", "chunk_size", "precision", "device")
"""Of the training, what stays the run's."""


def recipe_of_row(row: Row, base: Recipe, setting: Setting, table: str) -> Recipe:
    """The row's own, with its changes.

    A sparse set is cut by one tau, so its trainings have that too where the recipe leaves it to the images.

    Raises:
        InvalidInput: changes do not fit, or the student is none that can be made.
    """
    where = f"Row {row.id!r} of {table}"
    own = _method(row, base, setting, where)
    recipe = changed(own, row.set, where) if row.set else own
    try:
        NetworkSpec(recipe.student.arch, recipe.student.pooling)
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from None
    weights = recipe.student.weights
    if weights not in (IMAGENET, RANDOM) and not Path(weights).is_file():
        raise InvalidInput(f"{where}: there are no weights {weights}.")
    to_choose = recipe.objective.settings.get(THRESHOLD) == AUTO
    if row.sparse is not None and to_choose and setting.pool is not None:
        return with_threshold(recipe, setting.pool.tau)
    return recipe


def name_of_method(row: Row, setting: Setting) -> str | None:
    """The recipe whose method a row takes; None where it is the run's."""
    return setting.given.row_recipes.get(row.id, row.recipe)


def _method(row: Row, base: Recipe, setting: Setting, where: str) -> Recipe:
    name = name_of_method(row, setting)
    if name is None:
        return base
    method = load(name)
    kept = {key: getattr(base.training, key) for key in _OF_THE_MACHINE}
    own = base.model_copy(
        update={
            "objective": method.objective,
            "training": method.training.model_copy(update=kept),
            "averaging": method.averaging,
        }
    )
    fitting = _fitting(setting.given.changes, own)
    return changed(own, fitting, f"{where}, with --set") if fitting else own


def _fitting(changes: Sequence[str], recipe: Recipe) -> list[str]:
    """The changes that fit an objective of its own; what that does not have is passed over."""
    known = objective_settings(recipe.objective.name)
    fitting = []
    for change in changes:
        section, _, key = change.partition("=")[0].strip().partition(".")
        if section in _OF_THE_METHOD and (section != "objective" or key in known):
            fitting.append(change)
    return fitting
