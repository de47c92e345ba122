"""Processes that are cheap to start and made to be killed: a service or a command takes 0.1 s, not 3 s.

In: settings, or a command line, and the point at which the process shall kill itself. Out: a :class:`Life`,
whose facts, output and end can be waited for. See ``forked.py`` for the other side.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import lifeline
from faults import forked

TINY = {"arch": "mobilenet_v2-320x0.1", "image_size": 32, "decode_threads": 1, "max_wait_ms": 1}
"""A network of 43 thousand parameters and 32 dimensions: 3 ms for an image."""
START_S = 60.0


class Life:
    """One forked process, from its birth to its exit status."""

    def __init__(self, pipe: int, errors: Path) -> None:
        self._pipe, self._errors = pipe, errors
        self._unread = b""
        self._status: int | None = None
        self.pid = int(self._next_line(START_S)["pid"])
        self.facts: dict[str, Any] = {}
        """What a service says once it listens; see :meth:`wait_until_it_serves`."""
        self.said: list[dict[str, Any]] = []
        """What else it printed, once it has ended."""

    def wait_until_it_serves(self) -> dict[str, Any]:
        """Its address, public key and so on. Raises AssertionError if it ends before."""
        self.facts = self._next_line(START_S)
        assert "address" in self.facts, f"the service did not start: {self.facts}\n{self.errors}"
        return self.facts

    def wait(self, timeout_s: float) -> int:
        """Its exit status; the negative signal number if it was killed."""
        while self._status is None:
            line = self._next_line(timeout_s)
            if "status" not in line:
                self.said.append(line)
        return self._status

    @property
    def is_alive(self) -> bool:
        """Whether its end has not been waited for yet."""
        return self._status is None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; :meth:`wait` then tells the end."""
        os.kill(self.pid, number)

    def end(self) -> int:
        """SIGTERM, and wait."""
        self.kill(signal.SIGTERM)
        return self.wait(START_S)

    @property
    def errors(self) -> str:
        """The end of what it wrote to standard error."""
        return self._errors.read_text()[-3000:] if self._errors.exists() else ""

    def _next_line(self, timeout_s: float) -> dict[str, Any]:
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            data = self._read(deadline_s - time.monotonic())
            assert data is not None, f"process {self.pid} said nothing for {timeout_s:g} s\n{self.errors}"
            assert data, f"the zygote died\n{self.errors}"
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        document: dict[str, Any] = json.loads(line)
        if "status" in document:
            self._status = int(document["status"])
            os.close(self._pipe)  # a long run has more lives than a process may have files
        return document

    def _read(self, timeout_s: float) -> bytes | None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            return os.read(self._pipe, 65_536) if selector.select(max(0.0, timeout_s)) else None


class Zygote:
    """Forks lives on order; ends with everything it gave birth to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._orders, theirs = socket.socketpair()
        self._one_at_a_time = threading.Lock()
        self._lives: list[Life] = []
        with theirs, (folder / "zygote.txt").open("wb") as log:
            self._process = lifeline.start(
                [sys.executable, "-m", "faults.forked", str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": _python_path(), "OMP_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._orders.settimeout(START_S)
        assert self._orders.recv(5) == b"ready", (folder / "zygote.txt").read_text()

    def serve(self, settings: dict[str, Any], point: str | None = None, passage: int = 1) -> Life:
        """A service; it dies by itself at the ``passage``-th time that it comes by ``point``.

        Args:
            settings: of :class:`teacher_service.settings.Settings`; what is left out of the teacher is tiny.
            point: one of ``kill_points.SERVICE_POINTS``, or None to live on.
        """
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
        return self._order({"serve": {"settings": {**TINY, **plain}, "point": point, "passage": passage}})

    def trainer(
        self, *arguments: object, point: str | None = None, passage: int = 1, **environment: str
    ) -> Life:
        """A verb of ``student-trainer``; what it prints on standard output must be JSON lines."""
        words = [str(argument) for argument in arguments]
        facts = {"arguments": words, "environment": environment, "point": point, "passage": passage}
        return self._order({"trainer": facts})

    def close(self) -> None:
        """Kill what still lives."""
        for life in self._lives:
            if life.is_alive:
                life.kill()
                life.wait(START_S)
        self._orders.close()
        self._process.wait(timeout=30)

    def _order(self, order: dict[str, Any]) -> Life:
        with self._one_at_a_time:
            errors = self._folder / f"life{len(self._lives)}.txt"
            read_end, write_end = os.pipe()
            data = json.dumps({**order, "errors": str(errors)}).encode()
            assert len(data) < forked.MAX_ORDER_BYTES
            try:
                socket.send_fds(self._orders, [data], [write_end])
            finally:
                os.close(write_end)
            life = Life(read_end, errors)
            self._lives.append(life)
            return life


def _python_path() -> str:
    """The programs, and the tests' modules; in the tests alone, folders have the names of the programs."""
    tests = Path(__file__).resolve().parent.parent
    before = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join(part for part in (str(tests.parent), str(tests), before) if part)
