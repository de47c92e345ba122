"""Rows and claims that stand for several: one for every combination of what their ``each`` lists.

In: a table's TOML. Out: the same without lists: ``{alpha}`` in a text is replaced by the value, and each row
keeps its values. ``{images}`` in a row's name stays, since the number that is used is known only later.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

IMAGES = "images"
"""In ``each``, it is also the row's number of images."""


def expanded(table: Mapping[str, Any]) -> dict[str, Any]:
    """Every row and claim spelled out.

    Raises:
        ValueError: ``each`` is not lists of values, a text names something that it does not list, or the
            paper's numbers are not as many as its combinations.
    """
    rows = [row for template in _parts(table, "row") for row in _rows(template)]
    claims = [claim for template in _parts(table, "claim") for claim in _claims(template)]
    return {**table, "row": rows, "claim": claims}


def _parts(table: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    parts = table.get(key, [])
    if not (isinstance(parts, list) and all(isinstance(part, Mapping) for part in parts)):
        raise ValueError(f"{key} is not a list of tables: write [[{key}]]")
    return parts


def _rows(template: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    plain = {key: value for key, value in template.items() if key not in ("each", "paper")}
    combinations = list(_combinations(template))
    for place, values in enumerate(combinations):
        row = {key: _filled(value, values, keep=key == "name") for key, value in plain.items()}
        if IMAGES in values:
            row.setdefault(IMAGES, values[IMAGES])
        paper = _paper(template, place, len(combinations))
        yield {**row, "paper": paper, "each": values, "group": str(template.get("id", ""))}


def _claims(template: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    plain = {key: value for key, value in template.items() if key != "each"}
    for values in _combinations(template):
        yield {key: _filled(value, values, keep=False) for key, value in plain.items()}


def _combinations(template: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    each = template.get("each", {})
    if not (isinstance(each, Mapping) and all(isinstance(values, list) for values in each.values())):
        raise ValueError(f"each = {each!r} does not give a list of values for each name")
    for chosen in product(*each.values()):
        yield dict(zip(each, chosen, strict=True))


def _paper(template: Mapping[str, Any], place: int, combinations: int) -> dict[str, Any]:
    """One list of numbers for a plain row; for ``each``, one list for every combination."""
    paper = template.get("paper", {})
    if "each" not in template:
        return dict(paper)
    for who, numbers in paper.items():
        if len(numbers) != combinations:
            raise ValueError(
                f"the paper's numbers of {who} in row {template.get('id')!r} are {len(numbers)} lists for "
                f"{combinations} rows"
            )
    return {who: numbers[place] for who, numbers in paper.items()}


def _filled(value: Any, values: Mapping[str, Any], *, keep: bool) -> Any:
    """With ``{name}`` replaced; ``keep`` leaves ``{images}``."""
    if isinstance(value, list):
        return [_filled(member, values, keep=keep) for member in value]
    if not isinstance(value, str):
        return value
    for name, filling in values.items():
        if not (keep and name == IMAGES):
            value = value.replace(f"{{{name}}}", _text(filling))
    unknown = [name for name in re.findall(r"{(\w+)}", value) if not (keep and name == IMAGES)]
    if unknown:
        raise ValueError(f"{value!r} names {unknown[0]!r}, which its 'each' does not list")
    return value


def _text(value: Any) -> str:
    """As TOML writes it, since it may become the value of a recipe's key."""
    return str(value).lower() if isinstance(value, bool) else str(value)
