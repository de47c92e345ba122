"""Reserve on Redis: one script decides what a request must pay, and holds it.

In: a request's distinct images. Out: a hold, and whether the store knows of it; or a refusal that changed
nothing.
"""

from typing import Any

from shared.chain import window_end_ms
from teacher_service.metering.ledger import (
    MIN_REPLAYS_A_DAY,
    REPLAYS_A_DAY_PER_QUERY,
    BudgetExhausted,
    Hold,
    LedgerError,
    Reservation,
)
from teacher_service.metering.redis.chain_ends import ChainEnds
from teacher_service.metering.redis.connection import RedisConnection
from teacher_service.metering.redis.keyspace import names_of, window_named
from teacher_service.metering.redis.pipeline import Argument
from teacher_service.metering.refusals import (
    call_in_flight,
    idempotency_mismatch,
    image_in_flight,
    key_revoked,
    too_many_replays,
    unknown_key,
)
from teacher_service.metering.waiting import MAX_WAIT_MS, MIN_WAIT_MS
from teacher_service.metering.watermarks import Watermarks


class Reserver:
    """Asks the script, and reads its reply."""

    def __init__(
        self, connection: RedisConnection, chains: ChainEnds, watermarks: Watermarks, lease_ms: int
    ) -> None:
        self._connection = connection
        self._chains = chains
        self._watermarks = watermarks
        self._lease_ms = lease_ms

    async def reserve(self, reservation: Reservation, hold_id: str) -> tuple[Hold, bool]:
        """A hold under this id, and whether it is a replay that the store keeps no record of.

        Raises:
            UnknownKey, KeyRevoked, BudgetExhausted, InFlight, IdempotencyMismatch, LedgerUnavailable
        """
        names = names_of(reservation.key_id)
        keys = (
            names.account,
            names.events,
            names.holds,
            names.leases,
            names.held_images,
            names.calls,
            names.paid(reservation.teacher_revision),
            names.days,
        )
        mark = self._watermarks.of(reservation.key_id)
        args: tuple[Argument, ...] = (
            mark.seq,
            mark.hash,
            hold_id,
            self._lease_ms,
            reservation.idempotency_key or "",
            reservation.body_digest,
            bytes.fromhex(reservation.teacher_revision),
            bytes.fromhex("".join(reservation.images)),
            MIN_REPLAYS_A_DAY,
            REPLAYS_A_DAY_PER_QUERY,
            MIN_WAIT_MS,
            MAX_WAIT_MS,
        )
        reply = await self._connection.run("reserve", keys, args)
        if reply[0] not in (b"held", b"replay"):
            raise self._refusal(reservation, reply)
        self._chains.learn(reservation.key_id, reply[1])
        to_pay = zip(reservation.images, reply[3], strict=True)
        charged = frozenset(image for image, flag in to_pay if flag == ord("1"))
        return Hold(hold_id, reservation, charged, int(reply[2])), reply[0] == b"replay"

    def _refusal(self, reservation: Reservation, reply: list[Any]) -> LedgerError:
        key_id = reservation.key_id
        match reply[0]:
            case b"unknown":
                return unknown_key(key_id)
            case b"revoked":
                return key_revoked(key_id)
            case b"mismatch":
                return idempotency_mismatch(reservation)
            case b"in_flight" if reply[1]:
                return image_in_flight(reply[1].hex(), int(reply[2]))
            case b"in_flight":
                return call_in_flight(reservation, int(reply[2]))
            case b"exhausted":
                needed, remaining, budget, now_ms = (int(value) for value in reply[1:5])
                end_ms = window_end_ms(window_named(reply[5]), int(reply[6]))
                refills_in_ms = None if end_ms is None else end_ms - now_ms
                return BudgetExhausted(key_id, needed, remaining, budget, refills_in_ms)
            case b"replays":
                return too_many_replays(key_id, int(reply[1]), int(reply[2]), int(reply[3]))
            case _:
                return self._connection.refuse_rolled_back(key_id)
