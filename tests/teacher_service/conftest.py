"""A real server on a free port of this machine, in a thread, with a tiny network behind it."""

import io
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import running_service
from command_line import Outcome, Run
from PIL import Image
from running_service import TINY, Running


def photograph(seed: int, width: int = 60, height: int = 45, format_: str = "PNG") -> bytes:
    """An encoded image of smooth random colours; another seed is another image."""
    rough = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC).save(out, format_)
    return out.getvalue()


StartService = Callable[..., Running]


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A test that serves in this process sets up logging to its own captured standard error."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def photo() -> Callable[..., bytes]:
    """``photo(seed, width, height, format)`` -> encoded bytes."""
    return photograph


@pytest.fixture(scope="module")
def start_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartService]:
    """``start_service(max_images=3, ...)`` starts a server; all end with the module."""
    stops: list[Callable[[], None]] = []

    def start(**changes: Any) -> Running:
        changes.setdefault("data_dir", tmp_path_factory.mktemp("service"))
        running, stop = running_service.start({**TINY, **changes})
        stops.append(stop)
        return running

    yield start
    for stop in stops:
        stop()


@pytest.fixture(scope="module")
def service(start_service: StartService) -> Running:
    """One server with default limits for the tests of a module; each takes keys of its own."""
    return start_service()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder for one service's state."""
    return tmp_path / "state"


@pytest.fixture
def run(data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``teacher-service`` in this process, on a folder of the test's own."""
    from teacher_service import cli

    monkeypatch.setenv("TEACHER_DATA_DIR", str(data_dir))

    def command(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["teacher-service", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, captured.out, captured.err)

    return command
