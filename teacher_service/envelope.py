"""Around every request: its id, its line in the log, its counts, and an answer even to a fault of ours.

In: the application. Out: the same with ``X-Request-Id`` on every answer. Plain ASGI, as a wrapper that
re-reads bodies would cost more than a whole replay.
"""

import os
import time
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.protocol import Header
from teacher_service.logs import log
from teacher_service.metrics import Metrics
from teacher_service.routes.failures import internal_error

CLIENT_LEFT = 499
"""What the log says where no answer could be sent; the number is that of nginx."""

_REQUEST_ID = Header.REQUEST_ID.lower().encode()


class Envelope:
    """ASGI middleware; ``scope["state"]`` carries ``request_id``, and ``account`` once settled."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        request_id = f"req_{os.urandom(12).hex()}"
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((_REQUEST_ID, request_id.encode()))
            await send(message)

        failed: Exception | None = None
        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            status = status or CLIENT_LEFT
        except Exception as error:
            failed = error
            if status:
                raise  # the answer has begun: the server can only cut the connection
            await internal_error(request_id)(scope, receive, send_with_id)
        finally:
            self._note(scope, state, status, time.perf_counter() - started_s, failed)

    def _note(
        self, scope: Scope, state: dict[str, Any], status: int, seconds: float, failed: Exception | None
    ) -> None:
        # The template and not the path: a path may hold anything, and would be a label without bound.
        route = getattr(scope.get("route"), "path", "(unknown)")
        self._metrics.answered(route, status, seconds)
        log(
            "request",
            level="info" if failed is None else "error",
            error=failed,
            request_id=state["request_id"],
            method=scope["method"],
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 2),
            **state.get("account", {}),
        )
