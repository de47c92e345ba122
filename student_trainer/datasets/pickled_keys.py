"""What the dictionaries and sets of a pickle may hold, so that a stranger cannot make them slow.

In: keys, values and members as a pickle gives them. Out: a filled dictionary or set, or :class:`Refused`.
Only strings and bytes are taken, as Python mixes a secret into their hashes: integers and floats can be
chosen so that each falls on all those before it. Where the secret is switched off (``PYTHONHASHSEED``),
small numbers keep the cost in bounds. The public files need six keys of twelve letters.
"""

from typing import Any

MOST_KEYS = 1_000
LONGEST_KEY = 1_000
"""Characters or bytes: long keys that are equal are compared to their ends, each time."""


class Refused(ValueError):
    """A pickle holds something else than plain data, or too much of it."""


def fill(target: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
    """Put key, value, key, value ... into a dictionary, and return it.

    Raises:
        Refused: a key without its value, one of another type or too long, or too many keys.
    """
    if len(pairs) % 2:
        raise Refused("it is damaged: a key without its value")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        target[_checked(key)] = value
        _check_size(target)
    return target


def add(target: set[Any], members: list[Any]) -> set[Any]:
    """Put members into a set, and return it; raises as :func:`fill`."""
    for member in members:
        target.add(_checked(member))
        _check_size(target)
    return target


def _checked(key: Any) -> str | bytes:
    if type(key) is not str and type(key) is not bytes:
        raise Refused(f"it has a dictionary or set by a value of type {type(key).__name__}")
    if len(key) > LONGEST_KEY:
        raise Refused(f"it has a dictionary or set by a value of {len(key):,} characters")
    return key


def _check_size(target: dict[Any, Any] | set[Any]) -> None:
    if len(target) > MOST_KEYS:
        raise Refused(f"it has a dictionary or set of more than {MOST_KEYS:,} values")
