"""A command of ours, run in this process: what it printed and how it ended."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass
class Outcome:
    """The end of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What ``--json`` printed."""
        return json.loads(self.out)


Run: TypeAlias = Callable[..., Outcome]
"""``run("keys", "list")``."""


def one_line(outcome: Outcome, code: int) -> str:
    """An error is one line on standard error, under the program's name, with its documented code."""
    assert (outcome.code, outcome.out) == (code, "")
    [line] = outcome.err.splitlines()
    assert line.startswith("teacher-service: ")
    return line
