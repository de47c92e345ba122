"""A teacher that speaks the protocol with real receipts and a real chain, and misbehaves on demand.

It is served by uvicorn on loopback, in a thread. Its ledger is held in memory; everything that it signs and
chains is built by ``shared``, so the client's checks are exercised for real.
"""

import asyncio
import hashlib
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from nacl.signing import SigningKey
from PIL import Image

from shared.chain import Genesis, Grant, Item, Link, Settle, Window, link, window_end_ms, window_index
from shared.digest import digest_of_document, sha256_hex
from shared.images import ImageLimits
from shared.protocol import Header
from shared.receipts import LedgerHead, Receipt, SignedHead, SignedReceipt, delivery_digest, to_header
from shared.vectors import descriptor_digest, encode_rows
from student_trainer.acquire import session
from student_trainer.acquire.client import Access
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.plan import decide, take_stock
from student_trainer.acquire.records import PlanFacts
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.datasets.manifest import scan_folder
from student_trainer.run_folder import RunFolder

DIM = 8


@dataclass
class Key:
    """One API key's account."""

    key_id: str
    budget: int
    billing: str = "distinct"
    rate: str = ""
    window: Window = "total"
    used: int = 0
    held: int = 0
    revoked: bool = False
    now_ms: int = 1_700_000_000_000
    links: list[Link] = field(default_factory=list)
    charged: set[tuple[str, str]] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    """Idempotency keys."""

    def __post_init__(self) -> None:
        self.append(Genesis, name="test", budget=self.budget, window=self.window, billing=self.billing)

    @property
    def used_in_window(self) -> int:
        """Queries charged in the window that ``now_ms`` lies in."""
        current = window_index(self.window, self.now_ms)
        return sum(
            entry.record["charged"]
            for entry in self.links
            if entry.record["kind"] == "settle"
            and window_index(self.window, entry.record["at_ms"]) == current
        )

    def append(self, kind: Any, **facts: Any) -> None:
        previous = self.links[-1].hash if self.links else "00" * 32
        event = kind(key_id=self.key_id, seq=len(self.links), at_ms=self.now_ms, **facts)
        self.links.append(link(event, previous))

    def grant(self, amount: int) -> None:
        self.budget += amount
        self.append(Grant, amount=amount, budget_after=self.budget)


@dataclass
class Seen:
    """One embedding request as it arrived."""

    authorization: str
    idempotency_key: str
    accept: str
    images: list[str]
    media_types: list[str]


class ScriptedTeacher:
    """``script`` holds what happens to the next embedding requests, one entry each; then all is well.

    An entry is a function of this teacher and a response that is ready to be sent (settled!), or a response
    to send instead of answering (nothing is settled).
    """

    def __init__(self) -> None:
        self.signing_key = SigningKey(b"\x07" * 32)
        self.keys: dict[str, Key] = {}
        self.weights = "first"
        self.decimals: int | None = None
        self.limits = {
            "max_images_per_request": 64,
            "max_image_bytes": 20_000_000,
            "max_request_bytes": 256_000_000,
            "max_image_pixels": 50_000_000,
            "formats": ["JPEG", "PNG", "WEBP"],
        }
        self.unreadable: set[str] = set()
        self.script: deque[Callable[[Response], Response] | Response] = deque()
        self.on_request: Callable[[], None] = lambda: None
        self.delay_s = 0.0
        self.rate_headers: dict[str, str] = {}
        self.seen: list[Seen] = []
        self.url = ""

    @property
    def description(self) -> dict[str, Any]:
        return {"weights": self.weights, "output": {"decimals": self.decimals}}

    @property
    def revision(self) -> str:
        return digest_of_document(self.description)

    @property
    def public_key(self) -> str:
        return bytes(self.signing_key.verify_key).hex()

    def add_key(self, api_key: str = "rtn_k1_secret", **facts: Any) -> Key:
        key = Key(**{"key_id": f"k{len(self.keys) + 1}", "budget": 1000, **facts})
        self.keys[api_key] = key
        return key

    def vector(self, image: str) -> np.ndarray:
        row = np.random.default_rng(int(image[:16], 16)).normal(size=DIM)
        row = (row / np.linalg.norm(row)).astype(np.float32)
        return row if self.decimals is None else np.round(row, self.decimals).astype(np.float32)

    def settle(self, key: Key, request_id: str, images: list[str], idempotency_key: str) -> SignedReceipt:
        free = key.billing == "every-call" and idempotency_key in key.answered
        items = tuple(
            Item(
                image=image,
                descriptor=descriptor_digest(self.vector(image)),
                charged=not free
                if key.billing == "every-call"
                else (self.revision, image) not in key.charged,
            )
            for image in images
        )
        charged = sum(item.charged for item in items)
        key.used += charged
        key.answered.add(idempotency_key)
        key.charged.update((self.revision, item.image) for item in items)
        facts = {
            "request_id": request_id,
            "teacher_revision": self.revision,
            "charged": charged,
            "replayed": len(items) - charged,
            "used_after": key.used,
        }
        key.append(Settle, items=items, **facts)
        body = Receipt(
            key_id=key.key_id,
            seq=len(key.links) - 1,
            budget=key.budget,
            ledger_head=key.links[-1].hash,
            delivery_digest=delivery_digest(items),
            issued_at_ms=key.now_ms,
            **facts,
        )
        return SignedReceipt.by(self.signing_key, body)

    def head(self, key: Key) -> SignedHead:
        body = LedgerHead(
            key_id=key.key_id,
            seq=len(key.links) - 1,
            ledger_head=key.links[-1].hash,
            used=key.used,
            budget=key.budget,
            teacher_revision=self.revision,
            issued_at_ms=1_700_000_000_000,
        )
        return SignedHead.by(self.signing_key, body)

    @staticmethod
    def refusal(
        status: int, code: str, param: str | None = None, remaining: int | None = None, **headers: str
    ) -> Response:
        """An error in the protocol's shape; ``_`` in header names stands for ``-``."""
        error: dict[str, Any] = {"message": f"told {code}", "type": "error", "param": param, "code": code}
        if remaining is not None:
            error["remaining"] = remaining
        return JSONResponse(
            {"error": error}, status, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    @staticmethod
    def cut_short(response: Response) -> Response:
        """Settled, but the connection breaks before the whole body has left."""

        async def part() -> Any:
            yield bytes(response.body)[:5]
            raise ConnectionAbortedError("cut on purpose")

        return StreamingResponse(part(), headers=dict(response.headers))


def build_app(teacher: ScriptedTeacher) -> FastAPI:
    app = FastAPI()

    def caller(request: Request) -> Key | None:
        return teacher.keys.get(request.headers.get("authorization", "").removeprefix("Bearer "))

    @app.get("/v1/models")
    async def models(request: Request) -> Any:
        if caller(request) is None:
            return teacher.refusal(401, "invalid_api_key")
        card = {
            "id": "scripted",
            "revision": teacher.revision,
            "dimension": DIM,
            "description": teacher.description,
            "limits": teacher.limits,
            "public_key": teacher.public_key,
        }
        return {"object": "list", "data": [card]}

    @app.get("/v1/usage")
    async def usage(request: Request) -> Any:
        key = caller(request)
        if key is None:
            return teacher.refusal(401, "invalid_api_key")
        return {
            "key_id": key.key_id,
            "name": "test",
            "billing": key.billing,
            "budget": key.budget,
            "window": key.window,
            "window_ends_at_ms": window_end_ms(key.window, key.now_ms),
            "used": key.used,
            "used_in_window": key.used_in_window,
            "held": key.held,
            "remaining": 0 if key.revoked else key.budget - key.used_in_window - key.held,
            "rate": key.rate,
            "revoked": key.revoked,
            "teacher_revision": teacher.revision,
        }

    @app.get("/v1/ledger")
    async def ledger(request: Request, after: int = -1, limit: int = 1000) -> Any:
        key = caller(request)
        if key is None:
            return teacher.refusal(401, "invalid_api_key")
        page = key.links[after + 1 : after + 1 + min(limit, 3)]  # small pages, so that paging is exercised
        return {
            "key_id": key.key_id,
            "entries": [{"record": entry.record, "hash": entry.hash} for entry in page],
            "has_more": after + 1 + len(page) < len(key.links),
            "head": teacher.head(key).model_dump(mode="json"),
        }

    @app.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        key = caller(request)
        async with request.form() as form:
            parts = form.getlist("images")
            data = [await part.read() for part in parts]  # type: ignore[union-attr]
        images = [sha256_hex(item) for item in data]
        idempotency_key = request.headers.get("idempotency-key", "")
        teacher.seen.append(
            Seen(
                request.headers.get("authorization", ""),
                idempotency_key,
                request.headers.get("accept", ""),
                images,
                [part.content_type or "" for part in parts],  # type: ignore[union-attr]
            )
        )
        teacher.on_request()
        await asyncio.sleep(teacher.delay_s)
        step = teacher.script.popleft() if teacher.script else None
        if isinstance(step, Response):
            return step
        if key is None:
            return teacher.refusal(401, "invalid_api_key")
        bad = [index for index, image in enumerate(images) if image in teacher.unreadable]
        if bad:
            return teacher.refusal(400, "invalid_image", f"input[{bad[0]}]")
        new = [image for image in images if (teacher.revision, image) not in key.charged]
        due = images if key.billing == "every-call" and idempotency_key not in key.answered else new
        left = key.budget - key.used_in_window
        if len(due) > left:
            wait = {} if key.window == "total" else {"retry_after": "3600"}
            return teacher.refusal(429, "insufficient_quota", None, left, x_should_retry="false", **wait)
        request_id = f"req-{len(teacher.seen)}"
        receipt = teacher.settle(key, request_id, images, idempotency_key)
        body = receipt.body
        response = Response(
            encode_rows(np.stack([teacher.vector(image) for image in images])),
            media_type="application/octet-stream",
            headers={
                Header.REQUEST_ID: request_id,
                Header.EMBEDDING_DIM: str(DIM),
                Header.QUERIES_CHARGED: str(body.charged),
                Header.RECEIPT: to_header(receipt),
                **teacher.rate_headers,
            },
        )
        return step(response) if step else response

    return app


@pytest.fixture
def teacher() -> Iterator[ScriptedTeacher]:
    """Served on a free port for the length of a test, with one key of 1,000 queries."""
    scripted = ScriptedTeacher()
    scripted.add_key()
    listener = socket.create_server(("127.0.0.1", 0))
    scripted.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(build_app(scripted), log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield scripted
    server.should_exit = True
    thread.join(timeout=10)
    listener.close()


@pytest.fixture(autouse=True)
def no_teacher_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell holds must not reach the commands."""
    monkeypatch.delenv("TEACHER_URL", raising=False)
    monkeypatch.delenv("TEACHER_API_KEY", raising=False)


@pytest.fixture
def write_image() -> Callable[..., str]:
    """A function that writes a small image of noise and returns the SHA-256 of the file."""

    def write(path: Path, seed: int, size: tuple[int, int] = (24, 16)) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return write


@pytest.fixture
def photographs(tmp_path: Path, write_image: Callable[..., str]) -> Callable[[int], Path]:
    """A function that makes a folder of n different small images."""

    def make(n: int) -> Path:
        folder = tmp_path / "photographs"
        for index in range(n):
            write_image(folder / f"site{index % 3}" / f"{index:03}.png", seed=index)
        return folder

    return make


@pytest.fixture
def planned(tmp_path: Path, photographs: Callable[[int], Path]) -> Callable[..., RunFolder]:
    """A function that plans n queries over n images (or more), and returns the run folder."""

    def make(queries: int, images: int | None = None, seed: int = 0) -> RunFolder:
        folder = photographs(queries if images is None else images)
        inventory = take_stock(scan_folder(folder), ImageLimits())
        decide(tmp_path / "run", inventory, queries, PlanFacts("random", seed, "test"))
        return RunFolder(tmp_path / "run")

    return make


@pytest.fixture
def buy(teacher: ScriptedTeacher) -> Callable[..., Outcome]:
    """A function that does what ``fetch --yes`` does, in this process, and returns its outcome."""

    def run(folder: RunFolder, api_key: str = "rtn_k1_secret", url: str = "", **settings: Any) -> Outcome:
        access = Access(url or teacher.url, api_key)
        with TransferSet.open(folder.transfer_set) as transfer_set:
            terms = session.quote(transfer_set, access)
            return session.fetch(
                transfer_set,
                access,
                terms,
                session.FetchSettings(**settings),
                on_progress=lambda images, outcome: None,
                on_wait=lambda reason, wait_s: None,
            )

    return run


@pytest.fixture
def command() -> list[str]:
    """The command as a user runs it, without its arguments."""
    return [str(Path(sys.executable).with_name("student-trainer"))]
