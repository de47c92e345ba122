"""What a transfer set records: images, how they were chosen, whose descriptors were bought, and counts.

In and out: frozen values; no I/O.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from shared.chain import Billing

DrawnBy: TypeAlias = Literal["digest", "file name"]
"""What stands for an image in the seed's draw: its bytes, or its name where bytes are not to be read."""


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
class EarlierChoice:
    """What a transfer set holds of a plan that was made in another way than the present one."""

    strategy: str
    """In the words of :attr:`PlanFacts.way`."""
    seed: int
    network: str
    images: int


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """How the images were chosen; with the same candidates this gives the same choice again."""

    strategy: str
    seed: int
    source: str
    network: str = ""
    """What looked at the candidates, in words; empty where the strategy does not look."""
    dropped_near_duplicates: bool = False
    earlier: tuple[EarlierChoice, ...] = ()
    """How the first images of the choice came about, where not in the same way; in their order."""
    drawn_by: DrawnBy = "digest"

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "PlanFacts":
        """The inverse of :meth:`document`; older files say less."""
        earlier = tuple(EarlierChoice(**choice) for choice in document.get("earlier", ()))
        return cls(**{**document, "earlier": earlier})

    def document(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @property
    def way(self) -> tuple[str, int, str]:
        """What decides the order in which images are chosen; the strategy with what the seed draws by."""
        strategy = self.strategy if self.drawn_by == "digest" else f"{self.strategy} by {self.drawn_by}"
        return strategy, self.seed, self.network

    def after(self, before: "PlanFacts", kept: int) -> "PlanFacts":
        """These facts for a plan whose first ``kept`` images are left from ``before``."""
        earlier = before.earlier
        here = kept - sum(choice.images for choice in earlier)
        if before.way != self.way and here > 0:
            earlier = (*earlier, EarlierChoice(*before.way, here))
        return replace(self, earlier=earlier)


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
