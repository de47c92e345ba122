"""A real server on a free port of this machine, in a thread, with a tiny network behind it."""

import asyncio
import io
import logging
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from command_line import Outcome, Run
from PIL import Image

TINY = {"arch": "mobilenet_v2-320x0.1", "image_size": 64, "port": 0, "decode_threads": 2}
"""A network of 43 thousand parameters and 32 dimensions: 4 ms for an image."""


def photograph(seed: int, width: int = 60, height: int = 45, format_: str = "PNG") -> bytes:
    """An encoded image of smooth random colours; another seed is another image."""
    rough = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC).save(out, format_)
    return out.getvalue()


@dataclass
class Running:
    """A service that answers at ``address``."""

    address: str
    service: Any
    loop: asyncio.AbstractEventLoop
    server: Any

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the server's own event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=30)

    def key(self, budget: int = 1000, rate: str = "", billing: Any = "distinct") -> str:
        """A fresh API key."""
        from teacher_service.access.keys import mint

        text, new = mint("test", budget, rate, billing)
        self.run(self.service.stations.ledger.create_key(new))
        return text

    def client(self, key: str | None = None, **headers: str) -> httpx.Client:
        """An HTTP client that sends ``key``."""
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        # Without verify=False each client would read the system's certificates: 20 ms that no test needs.
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, trust_env=False, verify=False)

    def usage(self, key: str) -> dict[str, Any]:
        """The key's account, as the service tells it."""
        with self.client(key) as client:
            document: dict[str, Any] = client.get("/v1/usage").raise_for_status().json()
            return document

    def embed(self, key: str, *images: bytes, **headers: str) -> httpx.Response:
        """One multipart request for raw rows."""
        files = [("images", (f"{index}", image, "image/png")) for index, image in enumerate(images)]
        accept = {"Accept": "application/octet-stream", **headers}
        with self.client(key) as client:
            return client.post("/v1/embeddings", files=files, headers=accept)


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
        running, stop = _start({**TINY, **changes})
        stops.append(stop)
        return running

    yield start
    for stop in stops:
        stop()


@pytest.fixture(scope="module")
def service(start_service: StartService) -> Running:
    """One server with default limits for the tests of a module; each takes keys of its own."""
    return start_service()


def _start(changes: dict[str, Any]) -> tuple[Running, Callable[[], None]]:
    import torch

    from teacher_service.app import create_app
    from teacher_service.serve import Server, bind
    from teacher_service.settings import Settings

    torch.set_num_threads(1)  # two cores for servers, clients and helpers of a test
    settings = Settings(**changes)
    app = create_app(settings)
    config = uvicorn.Config(app, http="httptools", lifespan="off", log_config=None, access_log=False)
    server = Server(config, app.state.service, as_json=True)
    listener = bind("127.0.0.1", 0)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve([listener])), daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive(), "the server did not stop"
        loop.close()

    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    _wait_until(lambda: server.started or not thread.is_alive())
    assert server.started
    running = Running(address, app.state.service, loop, server)
    _wait_until(lambda: running.service.warm == "ok")
    return running, stop


def _wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("waited 30 s in vain")


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
