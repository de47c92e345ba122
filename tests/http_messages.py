"""HTTP/1.1 messages as they pass a proxy: the first lines, and the body in the pieces in which it arrives.

In: a stream. Out: heads, and bytes to be passed on unchanged.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

PIECE_BYTES = 1 << 16
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "expect", "upgrade"})


@dataclass
class Head:
    """The first lines of a message."""

    start: str
    fields: list[tuple[str, str]]

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.fields}

    def to_bytes(self, connection: str) -> bytes:
        """The lines to pass on; connection headers concern one side only and are replaced."""
        kept = [(name, value) for name, value in self.fields if name.lower() not in _HOP_BY_HOP]
        lines = [self.start, *(f"{name}: {value}" for name, value in [*kept, ("Connection", connection)])]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head:
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    pairs = (line.split(":", 1) for line in lines)
    return Head(start, [(name, value.strip()) for name, value in pairs])


async def body(reader: asyncio.StreamReader, headers: dict[str, str], head: bytes) -> AsyncIterator[bytes]:
    """``head``, then the body that ``headers`` announce, in pieces as they arrive."""
    yield head
    if "chunked" in headers.get("transfer-encoding", "").lower():
        size = 1
        while size:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            yield line + await reader.readexactly(size + 2)  # trailers are not used by anyone here
        return
    left = int(headers.get("content-length", "0"))
    while left:
        piece = await reader.read(min(left, PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(piece)
        yield piece
