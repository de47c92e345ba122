"""Servers in processes of their own, as a user starts them, and the bare echo that they are compared with.

In: code and flags. Out: an address and what the process has used of the processor.
"""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

SERVE = "from teacher_service.cli import main; main()"
ECHO = "from benchmarks.processes import serve_echo; serve_echo()"


@dataclass
class Served:
    """A server in a process of its own."""

    address: str
    pid: int

    def client(self) -> httpx.Client:
        """A connection of its own."""
        return httpx.Client(base_url=self.address, timeout=600, trust_env=False, verify=False)

    def cpu_s(self) -> float:
        """What its threads have run so far, in user and system mode; the kernel counts nanoseconds here."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def process(code: str, *arguments: str) -> Iterator[Served]:
    """Start ``python -c``, wait for its line ``address http://...``, and end it; its log is thrown away."""
    command = [sys.executable, "-c", code, *arguments]
    popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert popen.stdout is not None
        address = popen.stdout.readline().split()[1]
        yield Served(address, popen.pid)
    finally:
        popen.terminate()
        popen.wait()


def serve_echo() -> None:
    """The bare comparison: FastAPI on the same web server, which sends each body back."""
    import uvicorn
    from fastapi import FastAPI, Request, Response

    from teacher_service.serve import bind

    app = FastAPI()

    @app.post("/")
    async def echo(request: Request) -> Response:
        return Response(await request.body())

    listener = bind("127.0.0.1", 0)
    print(f"address http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    listener.listen()
    config = uvicorn.Config(app, http="httptools", loop="uvloop", log_config=None, access_log=False)
    uvicorn.Server(config).run([listener])


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A ``redis-server`` that is safe for a ledger, on a free port; its URL."""
    folder.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    server = subprocess.Popen(["redis-server", *flags], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, retry=Retry(ConstantBackoff(0.05), 100)) as client:
            client.ping()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()
