"""Clients that buy at the same time with one key and do not give up, and what they were given.

In: addresses of one service (or of its replicas), a key, and images that come to hand bit by bit. Out: for
each image the descriptors that arrived, each with the receipt that it came under. Every answer is checked
the moment it arrives. What the clients draw is fixed by the seed; how they interleave is not.
"""

import asyncio
import hashlib
import io
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import numpy as np
from faults.effort import effort
from faults.tally import Tally
from PIL import Image

from shared.digest import digest_of_list, sha256_hex
from shared.protocol import EMBEDDINGS_PATH, MULTIPART_FIELD, OCTET_STREAM, Header
from shared.receipts import Receipt, from_header

DIMENSION = 32
SIZES = (1, 2, 3, 5, 8)
"""New images in a request."""
REPEATS = (0, 0, 1, 3)
"""Images in a request that some client has asked for before, and may be waiting for."""
LONGEST_WAIT_S = 0.05
ANSWER_S = 30.0
"""For one answer; the service must not be silent for longer."""
PATIENCE_S = 900.0 if effort().is_long else 60.0
"""How long one request may go on failing before the test does: a service that is killed again and again at
its first requests delivers little while that goes on."""


def photograph(seed: str) -> bytes:
    """A small image of its own for each seed, as PNG."""
    noise = np.random.default_rng(int(hashlib.sha256(seed.encode()).hexdigest()[:16], 16))
    out = io.BytesIO()
    Image.fromarray(noise.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(out, "PNG", compress_level=1)
    return out.getvalue()


@dataclass(frozen=True)
class Refusal:
    """An answer without descriptors."""

    at_s: float
    """By the clock of :func:`time.monotonic`."""
    status: int
    code: str
    retry_after: str | None


@dataclass
class Crowd:
    """Clients of one key; :meth:`run` ends once all that was stocked is delivered and the stock is closed."""

    addresses: Sequence[str]
    api_key: str
    public_key: str
    tally: Tally
    chance: random.Random
    on_answer: Callable[[float], None] = lambda at_s: None
    """Told of each complete answer, by the clock of :func:`time.monotonic`."""
    images: dict[str, bytes] = field(default_factory=dict)
    """All that was stocked, by digest."""
    delivered: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Image digest -> digests of the descriptors that arrived for it."""
    receipts: list[Receipt] = field(default_factory=list)
    """Of every answer whose head arrived, even if its body did not."""
    cut: int = 0
    """Answers whose head arrived and whose body did not."""
    refusals: list[Refusal] = field(default_factory=list)
    _new: list[str] = field(default_factory=list)
    _asked: list[str] = field(default_factory=list)
    _closed: bool = False

    @property
    def key_id(self) -> str:
        """The part of the key that is no secret."""
        return self.api_key.split("_")[1]

    def stock(self, images: int) -> None:
        """More to buy."""
        for _ in range(images):
            data = photograph(f"{self.key_id} {len(self.images)} {self.chance.random()}")
            digest = sha256_hex(data)
            self.images[digest] = data
            self._new.append(digest)

    def close(self) -> None:
        """Nothing more will come: every client ends when nothing new is left."""
        self._closed = True

    async def run(self, clients: int) -> None:
        """Buy everything. Raises AssertionError for an answer that does not hold, or that never comes."""
        async with self.client(clients) as http:
            draws = [random.Random(self.chance.random()) for _ in range(clients)]
            async with asyncio.TaskGroup() as group:
                for chance in draws:
                    group.create_task(self._shop(http, chance))

    def client(self, connections: int) -> httpx.AsyncClient:
        """That sends the key, and asks for rows of bytes."""
        return httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self.api_key}", "Accept": OCTET_STREAM},
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            timeout=ANSWER_S,
            trust_env=False,
            verify=False,  # else it would read the system's certificates, for nothing
        )

    async def _shop(self, http: httpx.AsyncClient, chance: random.Random) -> None:
        while self._new or not self._closed:
            if batch := self._choose(chance):
                await self.buy(http, batch, chance)
            else:
                await asyncio.sleep(0.01)

    def _choose(self, chance: random.Random) -> list[str]:
        new = self._new[: chance.choice(SIZES)]
        del self._new[: len(new)]
        repeats = chance.choice(REPEATS) if new else 1  # with nothing new to buy, replays keep the load up
        batch = new + chance.sample(self._asked, min(len(self._asked), repeats))
        self._asked.extend(new)
        chance.shuffle(batch)
        return batch

    def ask_once(self, address: str, batch: Sequence[str]) -> Refusal | None:
        """One request, one answer: the refusal, or None if it was delivered."""
        before = len(self.refusals)

        async def ask() -> None:
            async with self.client(1) as http:
                await self._try(http, batch, address)

        asyncio.run(ask())
        return self.refusals[-1] if len(self.refusals) > before else None

    async def buy(self, http: httpx.AsyncClient, batch: Sequence[str], chance: random.Random) -> bool:
        """Ask until the batch is delivered (True), or refused for its budget (False)."""
        give_up_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_s:
            wait_s = await self._try(http, batch, chance.choice(self.addresses))
            if wait_s is None:
                return True
            if wait_s < 0:
                return False
            await asyncio.sleep(min(wait_s, LONGEST_WAIT_S) * chance.uniform(0.5, 1.0))
        raise AssertionError(f"not delivered after {PATIENCE_S:g} s; last: {self.refusals[-5:]}")

    async def _try(self, http: httpx.AsyncClient, batch: Sequence[str], address: str) -> float | None:
        """None if delivered, else for how long to wait; less than 0 for a budget that is exhausted."""
        self.tally.requests += 1
        files = [(MULTIPART_FIELD, ("x", self.images[image], "image/png")) for image in batch]
        receipt: Receipt | None = None
        try:
            async with http.stream("POST", address + EMBEDDINGS_PATH, files=files) as response:
                if response.status_code == 200:
                    receipt = from_header(response.headers[Header.RECEIPT]).verify(self.public_key)
                    self.receipts.append(receipt)
                await response.aread()
        except httpx.TransportError:
            self.cut += receipt is not None
            return 0.02
        if response.status_code == 502:  # said by a proxy between us, of a service that broke off
            return 0.02
        if receipt is None:
            return self._refused(response)
        self._check_answer(batch, response.content, receipt)
        return None

    def _check_answer(self, batch: Sequence[str], body: bytes, receipt: Receipt) -> None:
        """The descriptors are those that the receipt names; remember them."""
        width = 4 * DIMENSION
        assert len(body) == width * len(batch), f"{len(body)} bytes for {len(batch)} images"
        digests = [sha256_hex(body[k * width :][:width]) for k in range(len(batch))]
        distinct = dict(zip(batch, digests, strict=True))
        assert receipt.delivery_digest == digest_of_list(distinct.items()), "another delivery than signed"
        assert receipt.key_id == self.key_id
        assert receipt.charged + receipt.replayed == len(distinct)
        for image, descriptor in distinct.items():
            self.delivered[image].add(descriptor)
        self.tally.answers += 1
        self.on_answer(time.monotonic())

    def _refused(self, response: httpx.Response) -> float:
        assert Header.RECEIPT not in response.headers
        told = f"{response.status_code} {dict(response.headers)}: {response.text[:500]!r}"
        assert response.headers.get("content-type") == "application/json", told
        error = response.json()["error"]
        retry_after = response.headers.get(Header.RETRY_AFTER)
        self.refusals.append(Refusal(time.monotonic(), response.status_code, error["code"], retry_after))
        if error["code"] == "insufficient_quota":
            return -1.0
        assert response.status_code in (409, 429, 503), told
        wait_ms = response.headers.get(Header.RETRY_AFTER_MS)
        return float(wait_ms) / 1000 if wait_ms else LONGEST_WAIT_S
