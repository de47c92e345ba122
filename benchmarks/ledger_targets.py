"""What the ledger should reach, and what it reached.

In: measured numbers and the least that each should be. Out: a table.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One number that should not be smaller than another."""

    what: str
    measured: float
    least: float

    @property
    def is_met(self) -> bool:
        """Whether the target was reached."""
        return self.measured >= self.least


def print_targets(targets: Iterable[Target]) -> None:
    """One line for each."""
    print(f"\n{'target':<48}{'at least':>12}{'measured':>12}")
    for target in targets:
        verdict = "met" if target.is_met else "missed"
        print(f"{target.what:<48}{_number(target.least):>12}{_number(target.measured):>12}  {verdict}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
