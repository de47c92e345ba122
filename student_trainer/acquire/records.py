"""What a transfer set records: images, how they were chosen, whose descriptors were bought, and counts.

In and out: frozen values; no I/O.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.chain import Billing


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """A readable image file, known by the SHA-256 of its bytes."""

    digest: str
    path: Path
    format: str
    bytes: int
    width: int
    height: int

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> "PlannedImage":
        """A row of the table ``images``."""
        return cls(row["digest"], Path(row["path"]), row["format"], row["bytes"], row["width"], row["height"])


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """How the images were chosen; with the same candidates this gives the same choice again."""

    strategy: str
    seed: int
    source: str


@dataclass(frozen=True, slots=True)
class Teacher:
    """Whose descriptors these are; fixed before the first query, compared before every later one."""

    url: str
    """Where it was last reached; an address may change, the other facts may not."""
    key_id: str
    billing: Billing
    public_key: str
    revision: str
    model: str
    dim: int
    unit_norm: bool
    """Whether the teacher promises descriptors of norm 1."""
    description: Mapping[str, Any] = field(default_factory=dict)
    """The service's own words: weights digest, architecture, preprocessing, output policy."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a transfer set; ``charged`` and ``replayed`` add up the stored receipts."""

    candidates: int
    chosen: int
    bought: int
    refused: int
    """Planned images that the teacher refused and no later plan replaced."""
    missing: int
    bytes_missing: int
    charged: int
    replayed: int

    @property
    def planned(self) -> int:
        """Images of the plan, those that the teacher refused included."""
        return self.chosen + self.refused

    @property
    def complete(self) -> bool:
        """Everything that the teacher accepts is held."""
        return self.missing == 0
