"""Commands of many requests in one exchange with Redis.

In: commands, as they come. Out: their replies, or what went wrong with each. While one exchange is under way,
the next collects: so that one sync of the server's log to disk serves all of it, as group commit does, and
a command costs a third of the work here. Commands are carried out in the order of their coming.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, TypeAlias

import redis.asyncio as redis
from redis.exceptions import RedisError

Argument: TypeAlias = str | bytes | int

MAX_GROUP = 64
"""Commands in one exchange: bounds how long the first of them waits for the last."""


@dataclass(slots=True)
class _Call:
    command: tuple[Argument, ...]
    reply: "asyncio.Future[Any]"


class Pipeline:
    """One exchange at a time on one connection; for use on one event loop."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._waiting: deque[_Call] = deque()
        self._sender: asyncio.Task[None] | None = None

    async def call(self, *command: Argument) -> Any:
        """The reply to one command.

        Raises:
            ValueError: it cannot be sent.
            RedisError, OSError: the server refused it, or the exchange broke: then it may have been
                carried out or not.
        """
        # Encoded here: text that cannot be sent must hurt nobody but its caller.
        arguments = (part.encode() if isinstance(part, str) else part for part in command[1:])
        call = _Call((command[0], *arguments), asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        return await call.reply

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]
                await self._exchange([call for call in group if not call.reply.cancelled()])
        finally:
            self._sender = None

    async def _exchange(self, group: list[_Call]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for call in group:
            pipeline.execute_command(*call.command)
        try:
            replies = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            # With those that came meanwhile: each try on a silent server takes a whole time-out.
            group += self._waiting
            self._waiting.clear()
            replies = [error] * len(group)
        except RuntimeError as error:  # what uvloop says of a connection that broke before it was used
            replies = [redis.ConnectionError(str(error))] * len(group)
        except Exception as error:  # of ours: those who wait must hear of it
            replies = [error] * len(group)
        except BaseException:  # the loop is shut down: nobody may wait for ever
            for call in group:
                call.reply.cancel()
            raise
        for call, reply in zip(group, replies, strict=True):
            if call.reply.done():
                continue
            if isinstance(reply, Exception):
                call.reply.set_exception(reply)
            else:
                call.reply.set_result(reply)
