"""``teacher-service serve``: from flags to a listening server, and its orderly end.

In: settings. Out: five lines on standard output (address, model, teacher revision, public key, weights), then
a server until SIGTERM or Ctrl-C. Requests in flight are finished and settled before it ends.
"""

import errno
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from teacher_service.errors import AddressInUse, DataDirUnusable, VerificationFailed
from teacher_service.inference.commands import RANDOM_WEIGHTS
from teacher_service.metering.ledger import LedgerError
from teacher_service.metering.watermarks import StoreRolledBack
from teacher_service.output import emit, warn
from teacher_service.settings import Settings

if TYPE_CHECKING:
    from teacher_service.service import Service

LISTEN_BACKLOG = 2048


def run(settings: Settings, *, as_json: bool) -> None:
    """Serve until told to stop.

    Raises:
        CommandFailed: the port, the data folder or the teacher cannot be used.
    """
    listener = bind(settings.host, settings.port)
    with listener:
        from teacher_service.app import create_app  # loads torch: seconds that a taken port need not cost

        app = create_app(settings)
        config = uvicorn.Config(
            app,
            http="httptools",
            loop="uvloop",
            lifespan="off",  # Server below starts and stops the service, so that its errors reach the user
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing here depends on the client's address
            backlog=LISTEN_BACKLOG,
            timeout_graceful_shutdown=settings.graceful_timeout_s,
        )
        Server(config, app.state.service, as_json=as_json).run([listener])


class Server(uvicorn.Server):
    """A web server that opens the service before it listens and closes it after the last answer."""

    def __init__(self, config: uvicorn.Config, service: "Service", *, as_json: bool) -> None:
        super().__init__(config)
        self._service, self._as_json = service, as_json

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the ledger, listen, and only then say where.

        Raises:
            DataDirUnusable: the ledger cannot be opened.
            VerificationFailed: it is older than what was seen of it.
            AddressInUse: another process began to listen meanwhile.
        """
        try:
            await self._service.start()
        except StoreRolledBack as error:
            raise VerificationFailed(str(error)) from error
        except LedgerError as error:
            raise DataDirUnusable(str(error)) from error
        try:
            await super().startup(sockets)
        except OSError as error:
            await self._service.stop()
            raise AddressInUse(f"Cannot listen: {error.strerror or error}.") from error
        self._announce(sockets or [])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, finish what is in flight, and close the ledger."""
        await super().shutdown(sockets)
        await self._service.stop()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As the base class, except that an orderly end by signal is exit code 0 and not the signal again."""
        if threading.current_thread() is not threading.main_thread():
            yield  # part of another program, which handles its signals itself
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        previous = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _announce(self, sockets: list[socket.socket]) -> None:
        host, port = sockets[0].getsockname()[:2]
        card = self._service.card
        facts = {
            "address": f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}",
            "model": card.id,
            "teacher_revision": card.revision,
            "public_key": card.public_key,
            "weights": self._service.settings.weights_in_words,
        }
        if self._service.settings.weights_are_random:
            warn(RANDOM_WEIGHTS)
        emit(facts, "\n".join(f"{name} {value}" for name, value in facts.items()), as_json=self._as_json)


def bind(host: str, port: int) -> socket.socket:
    """Take the address; connections are refused until the server listens.

    Raises:
        AddressInUse: taken, not ours, or no such host.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(
                f"Port {port} on {host} is taken. Choose another with --port, or 0 for a free one."
            ) from None
        raise AddressInUse(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from None
    return listener
