"""The way to the Redis that holds the ledger: its scripts, and connections that know whom they reached.

In: a URL, and what was seen of the chains. Out: answers of scripts and commands, or LedgerUnavailable; an
operation is never sent twice, since the first may have been carried out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any, TypeAlias, TypeVar

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from teacher_service.metering.ledger import NOT_OPEN, LedgerUnavailable
from teacher_service.metering.redis.keyspace import names_of
from teacher_service.metering.redis.pipeline import Argument, Pipeline
from teacher_service.metering.redis.preflight import Ask, check_server, info
from teacher_service.metering.watermarks import Mark, StoreRolledBack, Watermarks

Result = TypeVar("Result")
Client: TypeAlias = Any
"""A ``redis.asyncio.Redis``, whose annotations would allow every kind of reply to every command."""

SERVER_TIME = "local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)"
"""Body of the Lua function that tells the time."""
CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 1.0, 3.0
_MARKS_AT_ONCE = 500
_SCRIPTS = ("reserve", "settle", "release", "renew", "sweep", "open_key", "look", "amend", "time")
_URL = "the ledger's URL (--ledger, TEACHER_LEDGER)"
_NO_URL = (
    "The URL of the Redis ledger cannot be read: use redis://USER:PASSWORD@HOST:PORT/DATABASE, with what is "
    "neither letter nor digit in the password percent-encoded."
)


class RedisConnection:
    """Runs commands and scripts.

    Each new connection that reaches another server process than before first makes sure that this one is
    safe, and that it still holds every record that was seen: settings are lost, a snapshot is restored and
    a lagging replica promoted only by a change of the process.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        watermarks: what was seen of the chains.
        allow_unsafe: only warn of a server that may evict or forget.
        time_lua: see :data:`SERVER_TIME`.

    Raises:
        ValueError: the URL cannot be read.
    """

    def __init__(
        self, url: str, watermarks: Watermarks, *, allow_unsafe: bool, time_lua: str = SERVER_TIME
    ) -> None:
        self._watermarks = watermarks
        self._allow_unsafe = allow_unsafe
        self._safe_server: str | None = None
        self._verified_server: str | None = None
        self._unsafe: LedgerUnavailable | None = None
        self._rolled_back: str | None = None
        self._open = False
        try:
            # No retries: whether to repeat an operation is ours to decide.
            self.client: redis.Redis = redis.Redis.from_url(
                url,
                protocol=2,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_timeout=ANSWER_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
                redis_connect_func=self._greet,
            )
        except ValueError:  # its text may hold a part of the password
            raise ValueError(_NO_URL) from None
        self._pipeline = Pipeline(self.client)
        prelude = f"local function now_ms() {time_lua} end\n{_lua('prelude')}"
        self._scripts = {name: self.client.register_script(f"{prelude}\n{_lua(name)}") for name in _SCRIPTS}

    def open(self) -> None:
        """Let questions through; connections are made as they are needed."""
        self._open = True

    async def close(self) -> None:
        """Close every connection; nothing is asked any more."""
        self._open = False
        await self.client.aclose()

    async def verify_anew(self) -> None:
        """Check all watermarks against the server now. Raises StoreRolledBack, LedgerUnavailable."""
        self._verified_server = None
        await self.client.connection_pool.disconnect()
        await self.ask(lambda client: client.ping())

    async def run(self, script: str, keys: Iterable[str], args: Iterable[Argument]) -> list[Any]:
        """One script's reply. Raises LedgerUnavailable."""
        names = tuple(keys)
        reply: list[Any] = await self.ask(
            lambda _: self._evaluate(self._scripts[script], (len(names), *names, *args))
        )
        return reply

    async def read(self, *command: Argument) -> Any:
        """One command's reply, among those of other requests. Raises LedgerUnavailable."""
        return await self.ask(lambda _: self._pipeline.call(*command))

    async def _evaluate(self, script: AsyncScript, args: tuple[Argument, ...]) -> Any:
        try:
            return await self._pipeline.call("EVALSHA", script.sha, *args)
        except NoScriptError:  # a server that was restarted has forgotten it, and has carried out nothing
            await self._pipeline.call("SCRIPT LOAD", str(script.script))
            return await self._pipeline.call("EVALSHA", script.sha, *args)

    async def ask(self, question: Callable[[Client], Awaitable[Result]]) -> Result:
        """Run commands. Raises LedgerUnavailable, StoreRolledBack."""
        if not self._open:
            raise LedgerUnavailable(NOT_OPEN)
        if self._rolled_back is not None:
            raise StoreRolledBack(self._rolled_back)
        try:
            return await question(self.client)
        except (RedisError, OSError, RuntimeError) as error:  # RuntimeError: uvloop's of a broken connection
            if self._rolled_back is not None:
                raise StoreRolledBack(self._rolled_back) from None
            raise self._unsafe or unavailable(error) from None

    async def talk(self, conversation: Callable[[Ask], Awaitable[Result]]) -> Result:
        """Ask several things over one connection. Raises LedgerUnavailable, StoreRolledBack."""

        async def converse(client: Client) -> Result:
            connection = await client.connection_pool.get_connection()
            try:
                return await conversation(_ask_over(connection))
            finally:
                await client.connection_pool.release(connection)

        return await self.ask(converse)

    def refuse_rolled_back(self, key_id: str) -> StoreRolledBack:
        """The store was found to lack a record of this key: nothing is served from it any more."""
        error = self._watermarks.rolled_back(key_id)
        self._rolled_back = str(error)
        return error

    async def _greet(self, connection: AbstractConnection) -> None:
        await connection.on_connect()
        ask = _ask_over(connection)
        server = (await info(ask, "server")).get("run_id", "")
        if server != self._safe_server:
            await self._check_safety(ask)
            self._safe_server = server
        if server != self._verified_server:
            await self._check_marks(connection)
            self._verified_server = server

    async def _check_safety(self, ask: Ask) -> None:
        try:
            await check_server(ask, allow_unsafe=self._allow_unsafe)
        except LedgerUnavailable as error:
            self._unsafe = error  # until one is reached that is safe
            raise redis.ConnectionError(str(error)) from None
        self._unsafe = None

    async def _check_marks(self, connection: AbstractConnection) -> None:
        try:
            await asyncio.to_thread(self._watermarks.refresh)
        except LedgerUnavailable as error:
            raise redis.ConnectionError(str(error)) from None
        entries = list(self._watermarks.all().items())
        for start in range(0, len(entries), _MARKS_AT_ONCE):
            missing = await _first_missing(connection, entries[start : start + _MARKS_AT_ONCE])
            if missing is not None:
                raise redis.ConnectionError(str(self.refuse_rolled_back(missing)))


async def _first_missing(connection: AbstractConnection, marks: Sequence[tuple[str, Mark]]) -> str | None:
    """The first key whose marked record the server does not hold."""
    commands = [
        ("XRANGE", names_of(key_id).events, f"1-{mark.seq}", f"1-{mark.seq}") for key_id, mark in marks
    ]
    await connection.send_packed_command(connection.pack_commands(commands))
    missing = None
    for key_id, mark in marks:
        entries = await connection.read_response()
        held = bool(entries) and entries[0][1][3] == mark.hash.encode("ascii")
        if not held and missing is None:
            missing = key_id
    return missing


def unavailable(error: Exception) -> LedgerUnavailable:
    """What a caller sees of a store that cannot be reached or refuses to write."""
    return LedgerUnavailable(
        f"The Redis ledger cannot be reached or written ({type(error).__name__}: {error}): nothing was "
        f"delivered. {_next_step(error)}"
    )


def _next_step(error: Exception) -> str:
    match error:
        case AuthenticationError() | NoPermissionError():
            return f"Check user and password in {_URL}, and what this user may do."
        case ResponseError() if "index is out of range" in str(error):
            return f"The server has no database of that number: check the end of {_URL}."
        case InvalidResponse():
            return f"What answers there is no Redis: check host and port in {_URL}."
    return "Check the server; the request may be repeated."


def _ask_over(connection: AbstractConnection) -> Ask:
    async def ask(*command: str) -> Any:
        await connection.send_command(*command)
        return await connection.read_response()

    return ask


def _lua(name: str) -> str:
    return files("teacher_service.metering.redis").joinpath("lua", f"{name}.lua").read_text("utf-8")
