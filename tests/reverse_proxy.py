"""A small HTTP/1.1 reverse proxy for tests: round robin over backends, and it cuts connections on demand.

In: addresses of backends. Out: one address, ``ReverseProxy.address``, that clients use with keep-alive::

    with ReverseProxy(["http://127.0.0.1:8001", "http://127.0.0.1:8002"]) as proxy:
        proxy.on_answer = lambda exchange: 0 if exchange.method == "POST" else None
        httpx.get(proxy.address + "/healthz")

Each request goes to the next backend, over a connection of its own. A backend that refuses the connection is
passed over, as nothing was sent to it; one that breaks off later gives 502 and is never asked twice. Bodies
are passed on as they come, in both directions.

Two hooks, called in the proxy's thread with an :class:`Exchange`; they may be replaced at any time:

``on_request``
    after the whole request was forwarded, before anything of the answer is read. ``True`` cuts both
    connections there: the backend sees its client leave.
``on_answer``
    after the backend's status and headers arrived (what it does durably, it has done). ``n`` cuts the client
    after the first ``n`` bytes of the answer, headers included, 0 for none; ``None`` passes it on whole.

``exchanges`` holds all requests that reached a backend, ``backends`` may be replaced while it runs.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from http_messages import PIECE_BYTES, Head, body, read_head
from loopback_server import LoopbackServer

_HEAD_BYTES = 1 << 18
_BROKEN = (OSError, EOFError, asyncio.IncompleteReadError)


@dataclass
class Exchange:
    """One request, as far as it came."""

    number: int
    """From 0, over all connections."""
    backend: str
    method: str
    path: str
    headers: dict[str, str]
    """Of the request, names in lower case."""
    status: int | None = None
    """Of the answer, once it arrived."""


class _Cut(Exception):
    """A hook asked for the connections to end here."""


class ReverseProxy(LoopbackServer):
    """Passes requests on from :meth:`start` to :meth:`stop`, or in a ``with`` block."""

    def __init__(
        self,
        backends: Sequence[str],
        *,
        on_request: Callable[[Exchange], bool] | None = None,
        on_answer: Callable[[Exchange], int | None] | None = None,
    ) -> None:
        super().__init__("reverse-proxy", limit=_HEAD_BYTES)
        self.backends = list(backends)
        self.on_request, self.on_answer = on_request, on_answer
        self.exchanges: list[Exchange] = []
        self._turn = 0

    @property
    def address(self) -> str:
        """Where clients find it, once it has started."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Request after request, until either side breaks off."""
        # So that drain waits for the system to have taken every byte: a cut leaves exactly what was written.
        writer.transport.set_write_buffer_limits(0)
        try:
            while await self._serve_one(reader, writer):
                pass
            await _linger(reader, writer)
        except (_Cut, *_BROKEN, asyncio.CancelledError):
            pass  # the client left, a hook cut it off, or the proxy stops

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the client's connection stays open."""
        try:
            request = await read_head(reader)
        except asyncio.IncompleteReadError:
            return False
        if request.headers.get("expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        connected = await self._connect()
        if connected is None:
            return await _refuse(writer, HTTPStatus.SERVICE_UNAVAILABLE)
        backend, backend_reader, backend_writer = connected
        try:
            exchange = self._note(backend, request)
            return await self._relay(exchange, request, (reader, writer), (backend_reader, backend_writer))
        finally:
            backend_writer.transport.abort()

    async def _connect(self) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter] | None:
        """The next backend that accepts; None if there is none."""
        backends, turn = self.backends, self._turn
        self._turn += 1
        for offset in range(len(backends)):
            backend = backends[(turn + offset) % len(backends)]
            url = urlsplit(backend)
            with contextlib.suppress(OSError):
                return backend, *await asyncio.open_connection(url.hostname, url.port, limit=_HEAD_BYTES)
        return None

    def _note(self, backend: str, request: Head) -> Exchange:
        method, path, _ = request.start.split(" ", 2)
        exchange = Exchange(len(self.exchanges), backend, method, path, request.headers)
        self.exchanges.append(exchange)
        return exchange

    async def _relay(self, exchange: Exchange, request: Head, client: "_Ends", backend: "_Ends") -> bool:
        forwarding = asyncio.create_task(self._forward(exchange, request, client[0], backend[1]))
        answering = asyncio.create_task(read_head(backend[0]))
        try:
            # A backend may answer before it has read the whole body: 413, say.
            await asyncio.wait({forwarding, answering}, return_when=asyncio.FIRST_COMPLETED)
            if forwarding.done():
                forwarding.result()  # raises if a hook cut here, or the client left
            try:
                answer = await answering
            except _BROKEN:
                return await _refuse(client[1], HTTPStatus.BAD_GATEWAY)
            whole = forwarding.done() and forwarding.result()
            keep = whole and request.headers.get("connection", "").lower() != "close"
            await self._answer(exchange, answer, backend[0], client[1], keep)
            return keep
        finally:
            forwarding.cancel()
            answering.cancel()
            await asyncio.gather(forwarding, answering, return_exceptions=True)

    async def _forward(
        self, exchange: Exchange, request: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the backend took the whole request."""
        async for piece in body(reader, request.headers, request.to_bytes("close")):
            writer.write(piece)
            try:
                await writer.drain()
            except OSError:
                return False  # it closed its end; what it answered before can still be read
        if self.on_request is not None and self.on_request(exchange):
            raise _Cut
        return True

    async def _answer(
        self,
        exchange: Exchange,
        answer: Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        keep: bool,
    ) -> None:
        exchange.status = int(answer.start.split(" ")[1])
        left = self.on_answer(exchange) if self.on_answer is not None else None
        head = answer.to_bytes("keep-alive" if keep else "close")
        headers = {} if exchange.method == "HEAD" else answer.headers
        async for piece in body(reader, headers, head):
            writer.write(piece if left is None else piece[:left])
            await writer.drain()
            if left is not None:
                left -= len(piece)
                if left <= 0:
                    raise _Cut


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closing with unread bytes would reset the connection, and the client might lose the answer."""
    writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            while await reader.read(PIECE_BYTES):
                pass


async def _refuse(writer: asyncio.StreamWriter, status: HTTPStatus) -> bool:
    head = Head(f"HTTP/1.1 {status.value} {status.phrase}", [("Content-Length", "0"), ("Retry-After", "1")])
    writer.write(head.to_bytes("close"))
    await writer.drain()
    return False
