"""What a person watching the demo sees: the stage, the command that is run, and how long it took.

In: titles, and arguments of ``student-trainer``. Out: lines on standard output; the commands run in this
process, exactly as typed.
"""

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from student_trainer.errors import INTERRUPTED

RunTrainer: TypeAlias = Callable[[list[str]], object]
"""Runs ``student-trainer`` with these arguments in this process; gives the exit code of an early end."""


@dataclass
class Narrator:
    """Counts the stages and runs their commands."""

    stages: int
    run_trainer: RunTrainer
    _stage: int = 0

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """One stage: its title before, its time after."""
        self._stage += 1
        print(f"\n[{self._stage}/{self.stages}] {title}", flush=True)
        started_s = time.monotonic()
        yield
        print(f"    done in {time.monotonic() - started_s:.1f} s", flush=True)

    def trainer(self, *arguments: str | object) -> None:
        """Run ``student-trainer`` with these arguments, after showing them.

        An exit code without an error, such as that of a fetch of which images were refused, ends nothing.

        Raises:
            TrainerError: as the command does.
            KeyboardInterrupt: the command was interrupted.
        """
        words = [str(argument) for argument in arguments]
        self.show("student-trainer", words)
        if self.run_trainer(words) == INTERRUPTED:
            raise KeyboardInterrupt

    def show(self, program: str, words: Sequence[str]) -> None:
        """The command line as a user would type it."""
        print(f"  $ {program} {shlex.join(words)}", flush=True)
