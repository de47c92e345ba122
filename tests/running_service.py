"""The whole teacher service on a free port of this machine, in a thread.

In: settings. Out: a running service with keys to make, and the function that stops it.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

TINY = {"arch": "mobilenet_v2-320x0.1", "image_size": 64, "port": 0, "decode_threads": 2}
"""A network of 43 thousand parameters and 32 dimensions: 4 ms for an image."""


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


def start(changes: dict[str, Any]) -> tuple[Running, Callable[[], None]]:
    """A service that has warmed up, and what stops it."""
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
