"""A TCP proxy for tests: it passes bytes on, and loses answers on demand.

In: the port of a server on the loopback interface. Out: ``TcpProxy.port``, that clients connect to instead::

    with TcpProxy(server.port) as proxy:
        proxy.lose_answer()  # the server has carried the command out; its client will never know
"""

import asyncio
import contextlib

from loopback_server import LoopbackServer

_PIECE_BYTES = 1 << 16


class TcpProxy(LoopbackServer):
    """Listens in a thread of its own while the ``with`` block lasts."""

    def __init__(self, server_port: int) -> None:
        super().__init__("tcp-proxy")
        self.sent = bytearray()
        """All that clients sent."""
        self.lost = 0
        """Answers that were lost."""
        self._server_port = server_port
        self._answers_until_loss: int | None = None

    def lose_answer(self, *, after: int = 0) -> None:
        """Pass so many answers on, and cut the connection of the next one instead."""
        self._answers_until_loss = after

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Both ways, until one ends."""
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
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
            server_writer.transport.abort()

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
