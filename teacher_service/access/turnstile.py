"""The turnstile: the same image for the same key goes through one request at a time, on this replica.

In: the tickets of a request, one for each distinct image. Out: passage once no other request holds any of
them. The one that waited then finds the first one's charge on the ledger and is a replay.

Tickets are taken in sorted order, so two requests can never wait for each other; each ticket's queue is
first come, first served, so none waits for ever.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias

Ticket: TypeAlias = tuple[str, str, str]
"""(key id, teacher revision, image digest)."""


class Turnstile:
    """A queue for each ticket that is in use; a ticket that nobody uses costs nothing."""

    def __init__(self) -> None:
        self._queues: dict[Ticket, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def passage(self, tickets: Iterable[Ticket]) -> AsyncIterator[None]:
        """Hold all ``tickets`` for the length of the block; waits for those that others hold."""
        taken: list[Ticket] = []
        try:
            for ticket in sorted(set(tickets)):
                await self._take(ticket)
                taken.append(ticket)
            yield
        finally:
            for ticket in taken:
                self._hand_on(ticket)

    async def _take(self, ticket: Ticket) -> None:
        queue = self._queues.get(ticket)
        if queue is None:
            self._queues[ticket] = deque()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._hand_on(ticket)  # the turn came and the cancellation too: let the next one in
            raise

    def _hand_on(self, ticket: Ticket) -> None:
        queue = self._queues[ticket]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._queues[ticket]

    def __len__(self) -> int:
        return len(self._queues)
