"""A TCP proxy for tests: it passes bytes on, and loses answers on demand.

In: the port of a server on the loopback interface. Out: ``TcpProxy.port``, that clients connect to instead::

    with TcpProxy(server.port) as proxy:
        proxy.lose_answer()  # the server has carried the command out; its client will never know
"""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

_PIECE_BYTES = 1 << 16


class TcpProxy:
    """Listens in a thread of its own while the ``with`` block lasts."""

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self.sent = bytearray()
        """All that clients sent."""
        self.lost = 0
        """Answers that were lost."""
        self._server_port = server_port
        self._answers_until_loss: int | None = None
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)

    def lose_answer(self, *, after: int = 0) -> None:
        """Pass so many answers on, and cut the connection of the next one instead."""
        self._answers_until_loss = after

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(timeout=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        ways = [
            asyncio.create_task(self._requests(reader, server_writer)),
            asyncio.create_task(self._answers(server_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, server_writer):
                end.transport.abort()
            self._connections.discard(task)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE_BYTES):
                self.sent += piece
                writer.write(piece)
                await writer.drain()

    def _is_to_be_lost(self) -> bool:
        left = self._answers_until_loss
        self._answers_until_loss = None if left in (None, 0) else left - 1
        return left == 0

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE_BYTES):
                if self._is_to_be_lost():
                    self.lost += 1
                    return
                writer.write(piece)
                await writer.drain()
