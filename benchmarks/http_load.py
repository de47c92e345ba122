"""A light HTTP client for load: it must not be what is measured.

In: an address, a request as bytes, how many clients. Out: requests per second, all answered with 200.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence


def requests_per_s(address: str, requests: Sequence[bytes], clients: int) -> float:
    """Send each request once, over ``clients`` connections at once.

    Raises:
        AssertionError: an answer was not 200.
    """
    return asyncio.run(_rate(address, requests, clients))


async def _rate(address: str, requests: Sequence[bytes], clients: int) -> float:
    host, port = address.removeprefix("http://").split(":")
    streams = [await asyncio.open_connection(host, int(port)) for _ in range(clients)]
    waiting = iter(requests)
    started_s = time.perf_counter()
    await asyncio.gather(*(_send_all(*stream, waiting) for stream in streams))
    seconds = time.perf_counter() - started_s
    for _, writer in streams:
        writer.close()
    return len(requests) / seconds


async def _send_all(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: Iterator[bytes]
) -> None:
    for request in waiting:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """One request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: benchmark", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
