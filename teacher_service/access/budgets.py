"""Budgets as their owner writes them.

In: text such as ``4000``, ``4,000 in total`` or ``1000/day``. Out: the queries and the window that they are
for, or a message that shows how a budget is written.
"""

import re
from dataclasses import dataclass

from shared.budgets import budget_text
from shared.chain import Window
from teacher_service.metering.validation import MAX_BUDGET_QUERIES

FORMS = "4000 (in total), 1000/day or 200/hour"
_WINDOWS: dict[str, Window] = {"in total": "total", "/hour": "hour", "/day": "day"}

# Separators stand between groups of three, so that a slip of the finger is no budget of a tenth.
_BUDGET = re.compile(
    r"(?P<queries>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,3}(?:_[0-9]{3})+|[0-9]+)"
    r"(?P<window>\s+in\s+total|\s*/\s*hour|\s*/\s*day)?",
    re.IGNORECASE,
)


class InvalidBudget(ValueError):
    """The text is no budget."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a key may spend, in its whole life or in each hour or day of UTC."""

    queries: int
    window: Window

    def __str__(self) -> str:
        return budget_text(self.queries, self.window)


def parse_budget(text: str) -> Budget:
    """Read a budget; without a window it is one in total.

    Raises:
        InvalidBudget: it cannot be read, or is more than a ledger can count.
    """
    match = _BUDGET.fullmatch(text.strip())
    if match is None:
        raise InvalidBudget(f"{text!r} is not a budget in queries: write one such as {FORMS}.")
    digits = match["queries"].replace(",", "").replace("_", "").lstrip("0") or "0"
    if len(digits) > len(str(MAX_BUDGET_QUERIES)) or int(digits) > MAX_BUDGET_QUERIES:
        raise InvalidBudget(f"A budget of {digits} queries is not possible: 0 to {MAX_BUDGET_QUERIES:,}.")
    return Budget(int(digits), _window(match["window"]))


def _window(text: str | None) -> Window:
    if text is None:
        return "total"
    words = " ".join(text.lower().split())
    return _WINDOWS[words.replace("/ ", "/")]
