"""What a student learned from by name, kept beside it, so that an evaluation knows what is new to it.

In: names of labels, or digests of images. Out: ``RUN/learned_labels.json`` and ``RUN/learned_images.json``,
and later what they say. The student's own file does not carry them, because it is passed on, and the names
of its owner's classes need not be.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.whole_files import write_whole
from student_trainer.errors import InvalidInput


@dataclass(frozen=True)
class Kind:
    """What is named."""

    format: str
    key: str


LABELS = Kind("ration-learned-labels/1", "labels")
IMAGES = Kind("ration-learned-images/1", "images")
"""By the SHA-256 of their files."""


@dataclass(frozen=True)
class Inherited:
    """What the student that a training starts from has learned from, as far as that is known."""

    names: frozenset[str] = frozenset()
    complete: bool = False
    """Nothing else is possible."""


@dataclass(frozen=True)
class Learned:
    """What a student learned from."""

    own: tuple[str, ...] = ()
    """In its own training."""
    of_start: Inherited | None = None
    """Before that; None where it started from no student."""

    @property
    def names(self) -> frozenset[str]:
        """All that are known."""
        return frozenset(self.own) | (self.of_start.names if self.of_start else frozenset())

    @property
    def complete(self) -> bool:
        """Whether there are no others."""
        return self.of_start is None or self.of_start.complete

    def handed_on(self) -> Inherited:
        """What a student inherits that starts from this one."""
        return Inherited(self.names, self.complete)


def keep(path: Path, kind: Kind, learned: Learned) -> None:
    """Write the file, whole or not at all.

    Raises:
        OSError: the folder cannot be written, or is full.
    """
    document: dict[str, Any] = {"format": kind.format, kind.key: learned.own}
    if learned.of_start is not None:
        document["of_start"] = sorted(learned.of_start.names)
        document["of_start_complete"] = learned.of_start.complete
    write_whole(path, json.dumps(document, indent=1).encode())


def read(path: Path, kind: Kind) -> Learned | None:
    """What the file says; None where there is none.

    Raises:
        InvalidInput: it is not such a file.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}. Remove it, or train again.") from None
    if not isinstance(document, dict) or document.get("format") != kind.format:
        raise InvalidInput(f"{path} is not of format {kind.format!r}. Remove it, or train again.")
    try:
        own = _names(document.get(kind.key))
        if "of_start" not in document:
            return Learned(own)
        complete = document.get("of_start_complete") is True
        return Learned(own, Inherited(frozenset(_names(document["of_start"])), complete))
    except TypeError:
        raise InvalidInput(f"{path} is no list of {kind.key} by name. Remove it, or train again.") from None


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("not a list of names")
    return tuple(value)
