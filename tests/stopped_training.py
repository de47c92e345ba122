"""A training that dies as soon as it has told of a step, for tests of how it is continued."""

from typing import Any

import pytest

from student_trainer.distil.log.metrics import MetricsLog


class StopHere(Exception):
    """In place of a power cut, where the same process goes on."""


def stop_at(patch: pytest.MonkeyPatch, step: int, error: type[BaseException] = StopHere) -> None:
    """Let a training die as soon as it has logged this step."""
    original = MetricsLog.write

    def write(log: MetricsLog, event: str, values: dict[str, Any]) -> None:
        original(log, event, values)
        if (event, values["step"]) == ("step", step):
            raise error

    patch.setattr(MetricsLog, "write", write)
