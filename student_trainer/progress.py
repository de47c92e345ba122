"""Progress on standard error: a live bar on a terminal, sparse plain lines elsewhere.

In: a title, a total, and advances with a short note. Out: text on standard error; results go to
standard output and are not touched by this.
"""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0
"""Between two lines of a bar when standard error is not a terminal."""


@dataclass
class Bar:
    """A running total with a note, such as ``spent 1,200, left 2,800``."""

    title: str
    total: int
    unit: str
    done: int = 0
    note: str = ""
    _live: Progress | None = None
    _task: TaskID | None = None
    _started_s: float = field(default_factory=time.monotonic)
    _last_line_s: float = field(default_factory=time.monotonic)

    def advance(self, n: int = 1, note: str | None = None) -> None:
        """Count ``n`` more units done, and replace the note if one is given."""
        self.done += n
        self.note = self.note if note is None else note
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=self.done, note=self.note)
        elif time.monotonic() - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = time.monotonic()
            print(self.line(), file=sys.stderr, flush=True)

    def expect(self, n: int) -> None:
        """Count ``n`` more units to be done, where the total is not known at first."""
        self.total += n
        if self._live is not None and self._task is not None:
            self._live.update(self._task, total=self.total)

    def line(self) -> str:
        """The state as one line of plain text."""
        elapsed_s = time.monotonic() - self._started_s
        note = f", {self.note}" if self.note else ""
        return f"{self.title}: {self.done:,}/{self.total:,} {self.unit}{note} ({elapsed_s:.1f} s)"


@contextmanager
def progress(title: str, total: int, unit: str, done: int = 0, *, shown: bool = True) -> Iterator[Bar]:
    """A bar for ``total`` units of which ``done`` are there already; one closing line in any case.

    ``shown=False``: it only counts, for a process beside which another one speaks.
    """
    console = Console(stderr=True)
    bar = Bar(title, total, unit, done)
    if not shown:
        bar._last_line_s = math.inf  # the next line is never due
        yield bar
        return
    if not console.is_terminal:
        yield bar
        print(bar.line(), file=sys.stderr, flush=True)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} {task.fields[unit]}"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as live:
        bar._live, bar._task = live, live.add_task(title, total=total, completed=done, unit=unit, note="")
        yield bar
