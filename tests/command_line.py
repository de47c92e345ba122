"""A command of ours, run in this process: what it printed and how it ended."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest


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


Trainer: TypeAlias = Callable[..., Any]
"""``trainer("plan", ...)`` runs a verb as its command does, and returns what it prints with ``--json``."""


def json_trainer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Trainer:
    """One for a test; a verb that fails fails the test, with what it said."""
    import torch  # only the trainer's tests need it

    from student_trainer.cli import main

    def run(*words: object) -> Any:
        torch.set_num_threads(1)
        monkeypatch.setattr(sys, "argv", ["student-trainer", *map(str, words), "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        return json.loads(printed.out)

    return run
