"""What is kept of a cell: how its network came about, and what each measure found.

In: facts and numbers, or the bytes of a file. Out: small JSON files, or checked records.
"""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.trials.files import write_whole

FORMAT = "ration-cell/1"
"""The first records name no format and are of this one. A field that is added has a default, so that older
records stay readable; one that changes its meaning makes another format."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Made(_Record):
    """How a network came about; left in its folder when its weights are gone."""

    network: str
    images: int
    """Learned from."""
    seed: int | None
    epochs: int
    steps: int
    seconds: float
    """Of its steps and of what precedes them, interruptions left out."""
    facts: dict[str, float]
    """What was found out about the images, such as ``tau`` and the share that is ``alone`` above it."""
    recipe_digest: str | None
    recipe: dict[str, Any] | None
    hardware: str
    versions: dict[str, str]


class Measured(_Record):
    """What one measure found."""

    values: dict[str, FiniteFloat]
    seconds: float


class Cell(Made):
    """Both together."""

    folder: str
    measures: dict[str, float]
    measuring_seconds: float


Readable = TypeVar("Readable", Made, Measured)


def write_record(path: Path, record: Made | Measured) -> None:
    """Write one, whole or not at all.

    Raises:
        StorageFailed: it cannot be written.
    """
    document = {"format": FORMAT, **record.model_dump(mode="json")}
    write_whole(path, json.dumps(document, indent=1) + "\n")


def read_record(path: Path, kind: type[Readable]) -> Readable | None:
    """Read one; None where there is no file, or only the beginning of one.

    Raises:
        InvalidInput: it is of another version, or something else.
        StorageFailed: it cannot be read.
    """
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        raise StorageFailed(f"{path} cannot be read: {error}.") from None
    found = document.get("format", FORMAT) if isinstance(document, dict) else "none"
    if found != FORMAT:
        raise _unreadable(path, f"its format is {found!r}, and this version knows {FORMAT!r}")
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise _unreadable(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _unreadable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(
        f"{path} is not a record of a cell ({why}). Use the version that "
        f"wrote it, or move {path.parent} away: the cell is then made anew."
    )
