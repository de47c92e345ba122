"""Group commit on Redis: settlements that wait for the same key become charges and records together.

In: holds, and what is about to be delivered for them. Out: settlements, durable. Records are hashed here,
for a chain end that is believed; the script refuses if the chain went on meanwhile, because another replica
was faster, and the records are built anew: each such refusal is somebody's progress. It also refuses a
time that is too far from its own, which is learned from the refusal.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.chain import Link, canonical_record, chain_hash, record_of
from teacher_service.metering.events import settle_event
from teacher_service.metering.ledger import Hold, LedgerUnavailable, Settlement
from teacher_service.metering.redis.chain_ends import ChainEnd, ChainEnds
from teacher_service.metering.redis.clock import TOLERANCE_MS, Clock
from teacher_service.metering.redis.connection import RedisConnection
from teacher_service.metering.redis.keyspace import names_of
from teacher_service.metering.redis.pipeline import Argument
from teacher_service.metering.refusals import hold_expired, key_revoked, unknown_key

MAX_GROUP, MAX_GROUP_IMAGES = 64, 500
"""Settlements in one script, and their images unless one alone has more: bounds how long it keeps the server
from others (64 images take it 0.4 ms, 1,000 take 5 ms)."""
MAX_IN_VAIN = 10
"""Refusals of one group while its chain did not move: learning the server's time does not help."""
_TOO_LATE = (
    f"Redis takes no record whose time is off by more than {TOLERANCE_MS} ms, and {MAX_IN_VAIN} were: "
    "nothing was delivered. Look at the server's clock and its answering times; the request may be repeated."
)


@dataclass(slots=True)
class _Job:
    hold: Hold
    descriptors: Mapping[str, str]
    replay: bool
    """The hold is known to this process alone."""
    done: "asyncio.Future[Settlement]"


class ChainWriter:
    """Settles holds, one group at a time for each key."""

    def __init__(self, connection: RedisConnection, ends: ChainEnds, clock: Clock) -> None:
        self._connection = connection
        self._ends = ends
        self._clock = clock
        self._queues: dict[str, deque[_Job]] = {}
        self._writers: set[asyncio.Task[None]] = set()

    async def settle(self, hold: Hold, descriptors: Mapping[str, str], *, replay: bool) -> Settlement:
        """Charge a hold and append its record.

        Raises:
            UnknownKey, KeyRevoked, HoldExpired, LedgerUnavailable
        """
        key_id = hold.reservation.key_id
        job = _Job(hold, descriptors, replay, asyncio.get_running_loop().create_future())
        queue = self._queues.get(key_id)
        if queue is None:
            self._queues[key_id] = deque([job])
            writer = asyncio.create_task(self._write(key_id))
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        else:
            queue.append(job)
        return await job.done

    async def close(self) -> None:
        """Wait for the settlements that are queued."""
        await asyncio.gather(*self._writers, return_exceptions=True)

    async def _write(self, key_id: str) -> None:
        """Commit what waits for one key until nothing does."""
        queue = self._queues[key_id]
        group: list[_Job] = []
        try:
            while queue:
                group = _next_group(queue)
                try:
                    await self._commit(key_id, group)
                except Exception as error:
                    _fail(group, error)
        except BaseException:  # the loop is being shut down: nobody may wait for ever
            _fail([*group, *queue], LedgerUnavailable("The service stops: nothing was delivered."))
            raise
        finally:
            del self._queues[key_id]

    async def _commit(self, key_id: str, group: list[_Job]) -> None:
        """Settle a group, less those that have no hold any more."""
        in_vain = 0
        while group:
            group = await self._still_wanted(key_id, group)
            if not group:
                return
            end = await self._ends.of(key_id)
            at_ms = max(self._clock(), end.window_start_ms)
            links = _links(group, end, at_ms)
            asked_s = time.monotonic()
            reply = await self._send(key_id, group, links, end, at_ms)
            match reply[0]:
                case b"settled":
                    last = links[-1]
                    seq, used = last.record["seq"], last.record["used_after"]
                    self._ends.learn(key_id, (seq, last.hash.encode("ascii"), used, end.window_start_ms))
                    _resolve(group, links, int(reply[1]), int(reply[2]), at_ms)
                    return
                case b"moved":
                    in_vain = 0 if int(reply[1][0]) > end.seq else in_vain + 1
                    if in_vain > MAX_IN_VAIN:
                        raise LedgerUnavailable(_TOO_LATE)
                    self._ends.learn(key_id, reply[1])
                    self._clock.learn(int(reply[2]), time.monotonic() - asked_s)
                case b"gone":
                    gone = {int(position) for position in reply[1]}
                    for position in gone:
                        _fail([group[position]], hold_expired(group[position].hold))
                    group = [job for position, job in enumerate(group) if position not in gone]
                case b"revoked":
                    raise key_revoked(key_id)
                case b"unknown":
                    raise unknown_key(key_id)
                case _:
                    raise self._connection.refuse_rolled_back(key_id)

    async def _still_wanted(self, key_id: str, group: Sequence[_Job]) -> list[_Job]:
        """Those whose caller still waits; a hold that only this process knows ends here, too."""
        late = [job for job in group if job.replay and job.hold.expires_at_ms <= self._clock()]
        if late and (await self._ends.look(key_id)).revoked:  # that goes before any other refusal
            raise key_revoked(key_id)
        for job in late:
            _fail([job], hold_expired(job.hold))
        return [job for job in group if not job.done.done()]

    async def _send(
        self, key_id: str, group: Sequence[_Job], links: Sequence[Link], end: ChainEnd, at_ms: int
    ) -> list[Any]:
        names = names_of(key_id)
        revision = group[0].hold.reservation.teacher_revision
        args: list[Argument] = [end.seq, end.hash, at_ms, TOLERANCE_MS, bytes.fromhex(revision)]
        for job, link in zip(group, links, strict=True):
            args += [
                "" if job.replay else job.hold.hold_id,
                link.record["charged"],
                link.record["replayed"],
                bytes.fromhex("".join(job.hold.charged_images)),
                canonical_record(link.record),
                link.hash,
            ]
        keys = (
            names.account,
            names.events,
            names.holds,
            names.leases,
            names.held_images,
            names.calls,
            names.calls_by_age,
            names.paid(revision),
            names.revisions,
            names.days,
        )
        return await self._connection.run("settle", keys, args)


def _next_group(queue: deque[_Job]) -> list[_Job]:
    """Jobs of one revision, in the order of their coming."""
    group = [queue.popleft()]
    first = group[0].hold.reservation
    images = len(first.images)
    while queue and len(group) < MAX_GROUP:
        following = queue[0].hold.reservation
        images += len(following.images)
        if following.teacher_revision != first.teacher_revision or images > MAX_GROUP_IMAGES:
            break
        group.append(queue.popleft())
    return group


def _links(group: Sequence[_Job], end: ChainEnd, at_ms: int) -> list[Link]:
    """The records of a group, one after the other behind the chain's end."""
    links: list[Link] = []
    seq, used, head = end.seq, end.used, end.hash
    for job in group:
        seq += 1
        event = settle_event(job.hold, job.descriptors, seq=seq, used=used, at_ms=at_ms)
        record = record_of(event)
        used, head = event.used_after, chain_hash(head, canonical_record(record))
        links.append(Link(record, head))
    return links


def _resolve(group: Sequence[_Job], links: Sequence[Link], budget: int, remaining: int, at_ms: int) -> None:
    for job, link in zip(group, links, strict=True):
        settlement = Settlement(
            link=link,
            seq=link.record["seq"],
            charged=link.record["charged"],
            replayed=link.record["replayed"],
            used_after=link.record["used_after"],
            budget=budget,
            remaining=remaining,  # the same after each of the group: what is charged was held before
            at_ms=at_ms,
        )
        if not job.done.done():
            job.done.set_result(settlement)


def _fail(group: Sequence[_Job], error: BaseException) -> None:
    for job in group:
        if not job.done.done():
            job.done.set_exception(error)
