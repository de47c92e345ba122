"""A real ``redis-server`` for tests: on a port of its own, killed, paused, restarted on the same files."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import lifeline
import redis
from ports import port_of, reserve_port

LEDGER_OPTIONS = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}
"""What a ledger needs."""


def available() -> bool:
    """Whether this machine has the program."""
    return shutil.which("redis-server") is not None


class RedisProcess:
    """One server on the loopback interface; its files live in ``folder``."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder = folder
        self.options = {**LEDGER_OPTIONS, **options}
        self._reserved = reserve_port()
        self.port = port_of(self._reserved)
        password = self.options.get("requirepass")
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, or start again on the same port and files; returns once it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        flags = [part for name, value in self.options.items() for part in (f"--{name}", value)]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = lifeline.start(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", *flags],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self._wait_until_it_answers()

    def kill(self) -> None:
        """kill -9: nothing is written any more."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An orderly end; does nothing if it has ended."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """Stop, and give the port up."""
        self.stop()
        self._reserved.close()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> "redis.Redis":
        """A plain client."""
        return redis.Redis.from_url(self.url)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        self._process.wait(timeout=30)
        self._process = None

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with self.client() as client:
                    client.ping()
                return
            except (redis.ConnectionError, redis.BusyLoadingError):
                time.sleep(0.01)  # it opens no channel to wait on
        raise AssertionError((self.folder / "redis.log").read_text()[-2000:])
