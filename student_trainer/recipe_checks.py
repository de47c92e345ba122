"""What a recipe's values are held against, and how a wrong one is explained.

In: an objective's name and settings, or a finding of pydantic. Out: complete settings, or one sentence that
names the place, the value and the nearest thing that would be right.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from student_trainer.errors import InvalidInput
from student_trainer.nearest import nearest

OBJECTIVE_SEED = "seed"
"""The one objective setting that is not spelled out: it follows ``training.seed`` unless it is given."""

THRESHOLD, AUTO = "tau", "auto"
"""The setting above which the teacher's similarity makes two images relevant to each other, and the word for
having it chosen from the bought descriptors (:mod:`student_trainer.distil.threshold`)."""


def objective_settings(name: str) -> dict[str, Any]:
    """The settings that an objective takes, with their defaults.

    Raises:
        InvalidInput: there is no such objective.
    """
    from student_trainer.distil import objectives  # loads torch, which a recipe's reader may not need

    parameters = inspect.signature(objectives.get(name)).parameters
    return {key: parameter.default for key, parameter in parameters.items()}


def carried_over(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What stays of an objective's section when another objective takes its place.

    A setting stays where the other has it by the same name and with the same default: tau stays between the
    ranking losses, while the margin of a contrastive loss is no margin for triplets.

    Args:
        settings: the section, with the name of the objective that it is of.
        name: of the other one.

    Raises:
        InvalidInput: there is no such objective.
    """
    before, after = objective_settings(str(settings["name"])), objective_settings(name)
    same = {key for key in after if key in before and before[key] == after[key]}
    return {key: value for key, value in settings.items() if key == "name" or key in same}


def complete_settings(name: str, given: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """All settings of an objective: those given, checked, and the defaults of the others.

    Args:
        name: the objective's.
        given: some of its settings.
        origin: where they come from, for the message.

    Raises:
        InvalidInput: no such objective, an unknown setting, or a value of the wrong type.
    """
    known = objective_settings(name)
    complete = {
        key: default
        for key, default in known.items()
        if key != OBJECTIVE_SEED and default is not None and default is not inspect.Parameter.empty
    }
    for key, value in given.items():
        if key not in known:
            hint = nearest(key, known)
            raise InvalidInput(
                f"{origin}: objective.{key} is unknown: {name!r} takes "
                f"{', '.join(sorted(known)) or 'no settings'}.{hint}"
            )
        chosen_later = (key, value) == (THRESHOLD, AUTO)
        complete[key] = value if chosen_later else _typed(f"{origin}: objective.{key}", value, known[key])
    return complete


def _typed(where: str, value: Any, default: Any) -> Any:
    """The value in its default's type; a whole number may stand for a float, and nothing else for another."""
    if default is None or default is inspect.Parameter.empty or type(value) is type(default):
        return value
    if type(value) is int and type(default) is float:
        return float(value)
    word = f' or the word "{AUTO}"' if where.endswith(f".{THRESHOLD}") else ""
    raise InvalidInput(
        f"{where} = {value!r} is not of type {type(default).__name__}, such as {default!r}{word}."
    )


def explain(error: ErrorDetails, model: type[BaseModel]) -> str:
    """One sentence of what is wrong with a document of ``model``, from pydantic's finding."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        *section, key = error["loc"]
        fields = model.model_fields
        known = fields[str(section[0])].annotation.model_fields if section else fields  # type: ignore[union-attr]
        return f"{where} is unknown; known here: {', '.join(known)}.{nearest(str(key), known)}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where} = {error['input']!r}: {message}." if where else f"{message}."
