"""What a scenario did and what it found, and the table of all scenarios at the end of a run.

In: counts. Out: text, or Markdown for ``docs/guarantees.md``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

COLUMNS = (
    "scenario",
    "store",
    "faults",
    "requests",
    "answers",
    "overspent",
    "charged twice",
    "delivered uncharged",
    "charged, undelivered",
    "other",
    "seconds",
    "seed",
)


@dataclass
class Tally:
    """One scenario on one store. The four counts of violations must stay 0."""

    scenario: str
    store: str
    seed: int
    faults: int = 0
    """Kills, cuts, outages, changed bytes: whatever the scenario does to the system."""
    requests: int = 0
    """Sent, those that failed included."""
    answers: int = 0
    """Complete ones, with descriptors."""
    overspent: int = 0
    """Queries charged beyond the budget."""
    charged_twice: int = 0
    delivered_uncharged: int = 0
    """Descriptors that reached a client without a charge on the chain."""
    charged_undelivered: int = 0
    """Images that were paid and that the service does not deliver however often it is asked."""
    seconds: float = 0.0
    other: list[str] = field(default_factory=list)
    """Whatever else does not hold, in words; must stay empty."""

    @property
    def violations(self) -> tuple[int, int, int, int]:
        """The four counts."""
        return self.overspent, self.charged_twice, self.delivered_uncharged, self.charged_undelivered

    def check(self) -> None:
        """Raise AssertionError unless nothing was violated."""
        found = self.other[:10]
        assert self.violations == (0, 0, 0, 0) and not found, f"{self}\n" + "\n".join(found)

    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        counts = (self.faults, self.requests, self.answers, *self.violations, len(self.other))
        return (
            self.scenario,
            self.store,
            *(f"{count:,}" for count in counts),
            f"{self.seconds:.1f}",
            str(self.seed),
        )


def as_text(tallies: Sequence[Tally]) -> str:
    """Columns under their names, for a terminal."""
    rows = [COLUMNS, *(tally.row() for tally in tallies)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS))]
    return "\n".join("  ".join(map(_aligned, row, widths, range(len(row)))).rstrip() for row in rows)


def as_markdown(tallies: Sequence[Tally]) -> str:
    """A table for a document."""
    rule = ("---", "---", *("---:" for _ in COLUMNS[2:]))
    return "".join(f"| {' | '.join(row)} |\n" for row in (COLUMNS, rule, *(tally.row() for tally in tallies)))


def _aligned(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column < 2 else text.rjust(width)
