"""The named points at which a process kills itself: of a request in the service, of a purchase at home.

In: a real application, or the trainer's modules, in a process made to be killed. Out: the same, which sends
itself SIGKILL the k-th time that it comes by the point. Wrapped from outside: no program knows of it.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

SERVICE_POINTS = ("before_reserve", "after_reserve", "during_compute", "after_settle", "mid_answer")
"""In the order in which a request passes them."""
TRAINER_POINTS = ("written_down", "answered", "committing", "stored")
"""A request is on disk and not sent; its answer is here; half of it is written; all of it is committed."""

FLUSH_S = 0.02
"""For half of an answer to leave the process before it dies."""


class Fuse:
    """Burns down by one with each passage, and kills at the last."""

    def __init__(self, passages: int) -> None:
        self._left = passages

    def burn(self) -> bool:
        """Whether this passage is the last."""
        self._left -= 1
        return self._left == 0

    def pass_by(self) -> None:
        """Die if this passage is the last."""
        if self.burn():
            die()


def die() -> None:
    """kill -9: no handler, no flush, no clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(app: Any, point: str, passage: int) -> None:
    """Make the application die at ``point``, the ``passage``-th time that a request comes by."""
    stations, fuse = app.state.service.stations, Fuse(passage)
    match point:
        case "before_reserve":
            _before(stations.ledger, "reserve", fuse)
        case "after_reserve":
            _after(stations.ledger, "reserve", fuse)
        case "during_compute":
            _before(stations.batcher, "_compute", fuse)
        case "after_settle":
            _before(stations.signer, "receipt", fuse)
        case "mid_answer":
            app.add_middleware(HalfAnswer, fuse=fuse)
        case _:
            raise ValueError(f"no point {point!r}; there are {SERVICE_POINTS}")


def arm_trainer(point: str, passage: int) -> None:
    """Make the trainer die at ``point`` of a purchase, the ``passage``-th time."""
    from student_trainer.acquire import outbox
    from student_trainer.acquire.client import TeacherClient

    fuse = Fuse(passage)
    match point:
        case "written_down":
            _before(TeacherClient, "embed", fuse)
        case "answered":
            _before(outbox.Outbox, "close", fuse)
        case "committing":
            _before(outbox, "encode_rows", fuse)
        case "stored":
            _after_return(outbox.Outbox, "close", fuse)
        case _:
            raise ValueError(f"no point {point!r}; there are {TRAINER_POINTS}")


class HalfAnswer:
    """ASGI middleware: of the answer at which the fuse ends, the head and half of the body leave."""

    def __init__(self, app: Any, fuse: Fuse) -> None:
        self._app, self._fuse = app, fuse

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass one connection on."""
        bought = False

        async def send_half(message: Any) -> None:
            nonlocal bought
            if message["type"] == "http.response.start":
                bought = scope["path"] == "/v1/embeddings" and message["status"] == 200
            elif bought and self._fuse.burn():
                body = message["body"]
                await send({**message, "body": body[: len(body) // 2], "more_body": True})
                await asyncio.sleep(FLUSH_S)
                die()
            await send(message)

        await self._app(scope, receive, send_half)


def _before(owner: Any, name: str, fuse: Fuse) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        fuse.pass_by()
        return original(*arguments, **options)

    setattr(owner, name, wrapped)


def _after(owner: Any, name: str, fuse: Fuse) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    async def wrapped(*arguments: Any, **options: Any) -> Any:
        result = await original(*arguments, **options)
        fuse.pass_by()
        return result

    setattr(owner, name, wrapped)


def _after_return(owner: Any, name: str, fuse: Fuse) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        fuse.pass_by()
        return result

    setattr(owner, name, wrapped)
