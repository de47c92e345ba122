"""The training curve for TensorBoard: the numbers of ``metrics.jsonl``, and no others.

In: ``metrics.jsonl`` as it is, and events as they come. Out: event files in a folder of the run. The folder
is written anew each time a training begins or continues, so what was undone by a kill is not in it, and a
training that was begun without TensorBoard shows its whole curve.

Needs the extra ``tensorboard``; nothing else does.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from student_trainer.errors import InvalidInput

_PLACES = ("step", "epoch")
"""Where an event happened, not what was measured there."""


def writer_class() -> Callable[[str], Any]:
    """What writes event files into a folder: torch's ``SummaryWriter``, which carries no types.

    Raises:
        InvalidInput: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InvalidInput(
            f"--tensorboard needs TensorBoard, which cannot be loaded ({error}). Install it with: "
            "pip install 'ration[tensorboard]', or leave --tensorboard out: the same numbers stand in "
            "metrics.jsonl."
        ) from None
    writer: Callable[[str], Any] = SummaryWriter
    return writer


class Board:
    """Event files of one run; close it when training ends."""

    def __init__(self, folder: Path, metrics: Path) -> None:
        """Begin anew with what ``metrics`` holds.

        Raises:
            InvalidInput: TensorBoard is not installed.
            OSError: the folder cannot be written.
        """
        kind = writer_class()
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = kind(str(folder))
        for line in metrics.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            self.write(record.pop("event"), record)

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """Every number of the event under ``event/name``, at its step; words are left out."""
        for name, value in values.items():
            if name not in _PLACES and isinstance(value, int | float) and not isinstance(value, bool):
                self._writer.add_scalar(f"{event}/{name}", value, values["step"])

    def flush(self) -> None:
        """Let a TensorBoard that is open see what is there."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is waiting."""
        self._writer.close()
