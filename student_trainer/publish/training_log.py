"""What the training curve says, for the page.

In: ``metrics.jsonl``. Out: its steps, and how tau was chosen where the recipe left that to the data.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Step:
    """One optimisation step."""

    step: int
    loss: float
    seconds: float
    """Time that the step took."""


@dataclass(frozen=True)
class TrainingLog:
    """A training as it went."""

    steps: tuple[Step, ...] = ()
    threshold: str | None = None
    """How tau was chosen, in a sentence; None where the recipe states it."""


def read_training_log(path: Path) -> TrainingLog:
    """Everything in order; a line that was cut off when the training was killed is passed over."""
    steps: list[Step] = []
    threshold: str | None = None
    for record in _records(path):
        try:
            if record["event"] == "step":
                steps.append(Step(int(record["step"]), float(record["loss"]), float(record["seconds"])))
            elif record["event"] == "threshold":
                threshold = str(record["chosen"])
        except (ValueError, KeyError, TypeError):
            continue
    return TrainingLog(tuple(steps), threshold)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record
