"""What the training curve says, for the page.

In: ``metrics.jsonl``. Out: its steps; how tau was chosen where the recipe left that to the data; and how the
student ranked held-back images, where some were held back.
"""

import json
from collections.abc import Callable, Iterator
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
class Watched:
    """How a student ranks held-back images, beside how the teacher ranks them."""

    step: int
    """After so many steps; 0 is before training."""
    images: int
    overlap: float
    """overlap@10."""
    average_precision: float | None
    """None where no image has a neighbour above tau."""


@dataclass(frozen=True)
class TrainingLog:
    """A training as it went."""

    steps: tuple[Step, ...] = ()
    threshold: str | None = None
    """How tau was chosen, in a sentence; None where the recipe states it."""
    watched: tuple[Watched, ...] = ()
    final: Watched | None = None
    """Of the final weights, which may be a mean."""


def read_training_log(path: Path) -> TrainingLog:
    """Everything in order; a line that was cut off when the training was killed is passed over."""
    found: dict[str, list[Any]] = {event: [] for event in _READERS}
    for record in _records(path):
        try:
            event = record["event"]
            found[event].append(_READERS[event](record))
        except (ValueError, KeyError, TypeError):
            continue
    thresholds, finals = found["threshold"], found["student"]
    return TrainingLog(
        steps=tuple(found["step"]),
        threshold=thresholds[-1] if thresholds else None,
        watched=tuple(found["validation"]),
        final=finals[-1] if finals else None,
    )


def _step(record: dict[str, Any]) -> Step:
    return Step(int(record["step"]), float(record["loss"]), float(record["seconds"]))


def _watched(record: dict[str, Any]) -> Watched:
    precision = None if record["AP"] is None else float(record["AP"])
    return Watched(int(record["step"]), int(record["images"]), float(record["overlap@10"]), precision)


_READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "step": _step,
    "threshold": lambda record: str(record["chosen"]),
    "validation": _watched,
    "student": _watched,
}


def _records(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record
