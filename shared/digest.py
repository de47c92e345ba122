"""Digests that both sides compute alike: of bytes, of files, of JSON documents and of lists.

In: image bytes, plain JSON values; a path for the digest of a file, which alone does I/O. Out: lower-case
hexadecimal SHA-256.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import orjson

JsonValue: TypeAlias = "str | int | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"


def sha256_hex(data: bytes | bytearray | memoryview) -> str:
    """SHA-256 of ``data`` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of what a file holds, read in parts.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: JsonValue) -> bytes:
    """The one byte form of a JSON value: keys sorted, no white space, UTF-8, no floats.

    Floats are refused because their text differs between languages; write them as strings
    where a document needs them (see :func:`float_text`).

    Raises:
        TypeError: the value holds a float, or anything that is not plain JSON.
    """
    _refuse_all_but_plain(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def parse_canonical(data: bytes) -> JsonValue:
    """Read a JSON document that has one meaning only; it may be indented.

    Raises:
        ValueError: not UTF-8, not JSON, a member named twice (readers differ on which one counts), or a
            float (readers differ on its digits).
    """
    try:
        value: JsonValue = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_members,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"it is cut or no text in UTF-8, from byte {error.start} on") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is cut or no JSON, from line {error.lineno}, column {error.colno} on") from None
    return value


def float_text(value: float) -> str:
    """The shortest text that reads back as the same float64, for use in canonical documents."""
    return repr(float(value))


def digest_of_document(value: JsonValue) -> str:
    """SHA-256 of the canonical JSON of ``value``."""
    return sha256_hex(canonical_json(value))


def digest_of_list(items: Iterable[str | Sequence[str]]) -> str:
    """SHA-256 of an ordered list of strings, or of tuples of strings."""
    return digest_of_document([item if isinstance(item, str) else list(item) for item in items])


def _refuse_all_but_plain(value: object) -> None:
    """orjson would also write dates, UUIDs and dataclasses, floats inside them included."""
    if type(value) is str or type(value) is int:  # nearly every member; the checks below cost ten times that
        return
    if isinstance(value, float):
        raise TypeError(f"Canonical JSON holds no floats, got {value!r}: write it as text.")
    if isinstance(value, Mapping):
        for member in value.values():
            _refuse_all_but_plain(member)
    elif isinstance(value, list | tuple):
        for member in value:
            _refuse_all_but_plain(member)
    elif value is not None and not isinstance(value, str | int):
        raise TypeError(f"Canonical JSON holds plain values only, got {type(value).__name__}.")


def _members(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it names a member twice: {next(n for n in names if names.count(n) > 1)!r}")
    return members


def _refuse_number(text: str) -> JsonValue:
    raise ValueError(f"it holds the number {text}, where only whole numbers are allowed")
