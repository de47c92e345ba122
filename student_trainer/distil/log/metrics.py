"""The training curve: one JSON object a line, appended as training goes.

In: events. Out: ``metrics.jsonl`` and, if asked for, the same for TensorBoard. Every step stands there once,
however often training was killed and continued: what was written after the checkpoint that training continues
from is taken out first.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from shared.whole_files import write_whole
from student_trainer.distil.log.tensorboard import Board


class MetricsLog:
    """The open file; use it as a context manager."""

    def __init__(self, path: Path, finished_steps: int, board_folder: Path | None = None) -> None:
        """Keep the events up to step ``finished_steps`` and append after them; mirror all on a board."""
        # Before the first checkpoint nothing is continued, not even what precedes the first step.
        kept = _events_up_to(path, finished_steps) if finished_steps else []
        self._kinds = {json.loads(line)["event"] for line in kept}
        write_whole(path, "".join(kept))
        self._board = Board(board_folder, path) if board_folder else None
        self._file = path.open("a", encoding="utf-8")

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """Append one event; it reaches the operating system before this returns."""
        self._file.write(json.dumps({"event": event, **values}) + "\n")
        self._file.flush()
        self._kinds.add(event)
        if self._board is not None:
            self._board.write(event, values)

    def write_once(self, event: str, values: Mapping[str, Any]) -> None:
        """Append an event unless one of its kind was kept from before."""
        if event not in self._kinds:
            self.write(event, values)

    def sync(self) -> None:
        """Wait until the events are on the disk."""
        os.fsync(self._file.fileno())
        if self._board is not None:
            self._board.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


class NoMetrics(MetricsLog):
    """Writes nothing: of several processes one keeps the curve."""

    def __init__(self) -> None:
        pass

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def write_once(self, event: str, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def _events_up_to(path: Path, finished_steps: int) -> list[str]:
    """Whole lines of steps that are in the checkpoint; the last line may be cut by a crash."""
    if not path.exists():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
            step, _ = record["step"], record["event"]
        except (json.JSONDecodeError, KeyError):
            continue
        if step <= finished_steps:
            kept.append(line + "\n")
    return kept
