"""Where each key's chain ends, as far as this process knows.

In: what scripts reply. Out: the newest end known of a key, or the one that the store tells now.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from teacher_service.metering.redis.clock import Clock
from teacher_service.metering.redis.connection import RedisConnection
from teacher_service.metering.redis.keyspace import names_of
from teacher_service.metering.refusals import unknown_key
from teacher_service.metering.watermarks import Watermarks


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """Where a chain ends, and what stands there."""

    seq: int
    hash: str
    used: int
    window_start_ms: int
    """No later record may claim to be older."""


@dataclass(frozen=True, slots=True)
class AccountNow:
    """What a record that follows must take into account."""

    end: ChainEnd
    now_ms: int
    budget: int
    revoked: bool


class ChainEnds:
    """Remembers the newest end of each key; a wrong one costs a refused script, never a wrong record."""

    def __init__(self, connection: RedisConnection, watermarks: Watermarks, clock: Clock) -> None:
        self._connection = connection
        self._watermarks = watermarks
        self._clock = clock
        self._ends: dict[str, ChainEnd] = {}

    def learn(self, key_id: str, reply: Sequence[Any]) -> ChainEnd:
        """The chain end that a script replied; returns the newest one known."""
        end = ChainEnd(int(reply[0]), reply[1].decode("ascii"), int(reply[2]), int(reply[3]))
        known = self._ends.get(key_id)
        if known is None or (end.seq, end.window_start_ms) > (known.seq, known.window_start_ms):
            self._ends[key_id] = end
            self._watermarks.saw(key_id, end.seq, end.hash)
        return self._ends[key_id]

    async def of(self, key_id: str) -> ChainEnd:
        """The newest end known, from the store if none is. Raises UnknownKey, LedgerUnavailable."""
        return self._ends.get(key_id) or (await self.look(key_id)).end

    async def look(self, key_id: str) -> AccountNow:
        """What the store tells now. Raises UnknownKey, LedgerUnavailable."""
        names, mark = names_of(key_id), self._watermarks.of(key_id)
        asked_s = time.monotonic()
        reply = await self._connection.run("look", (names.account, names.events), (mark.seq, mark.hash))
        match reply[0]:
            case b"found":
                self._clock.learn(int(reply[2]), time.monotonic() - asked_s)
                return AccountNow(self.learn(key_id, reply[1]), int(reply[2]), int(reply[3]), reply[4] == 1)
            case b"unknown":
                raise unknown_key(key_id)
            case _:
                raise self._connection.refuse_rolled_back(key_id)
