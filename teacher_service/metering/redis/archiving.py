"""Audit and restore on Redis: what is enforced for a key, and filling an empty store.

In: a client; checked records of an export. Out: totals of one moment, or a filled store. An import is
written under names of its own and becomes the ledger by one transaction of renamings: all or nothing.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from redis.exceptions import WatchError

from shared.chain import Settle, canonical_record, parse_event
from teacher_service.metering.archive import ArchivedRecord, LedgerInvalid, LedgerNotEmpty, Totals
from teacher_service.metering.ledger import DAY_MS, DayUsage, utc_day
from teacher_service.metering.redis import keyspace
from teacher_service.metering.redis.connection import Client
from teacher_service.metering.redis.keyspace import STAGED, names_of, new_account
from teacher_service.metering.refusals import unknown_key

_COMMANDS_AT_ONCE, _FIELDS_AT_ONCE = 500, 5000
Item = TypeVar("Item")

_OVERTAKEN = "Nothing was imported: a key was made, or another import was begun meanwhile. Look at the keys."
_NOT_EMPTY = "The ledger has keys already: an export can only be imported into an empty one."


async def totals(client: Client, key_id: str, now_ms: int) -> Totals:
    """What stands in Redis for a key, read in one transaction. Raises UnknownKey."""
    names = names_of(key_id)
    while True:
        revisions = sorted(await client.smembers(names.revisions))
        async with client.pipeline(transaction=True) as together:
            together.hgetall(names.account).xlen(names.events).smembers(names.revisions)
            together.hgetall(names.holds).zrange(names.leases, 0, -1, withscores=True)
            together.hvals(names.held_images).hgetall(names.days)
            for revision in revisions:
                together.hgetall(names.paid(revision.hex()))
            account, records, revisions_now, holds, leases, held, days, *paid = await together.execute()
        if not account:
            raise unknown_key(key_id)
        if set(revisions) == set(revisions_now):
            break
    _check_holds(key_id, holds, dict(leases), held)
    charges = {revision.hex(): images for revision, images in zip(revisions, paid, strict=True)}
    return Totals(
        seq=int(account[b"seq"]),
        head=account[b"head"].decode(),
        records=records,
        budget=int(account[b"budget"]),
        used=int(account[b"used"]),
        window_index=int(account[b"window_index"]),
        used_in_window=int(account[b"used_in_window"]),
        revoked=account[b"revoked"] == b"1",
        held=int(account[b"held"]),
        held_by_holds=sum(int(hold.split(b" ", 1)[0]) for hold in holds.values()),
        holds=len(holds),
        expired_holds=sum(expires_ms <= now_ms for _, expires_ms in leases),
        charges=sum(int(count) for images in charges.values() for count in images.values()),
        charged_images=frozenset(
            (revision, image.hex()) for revision, images in charges.items() for image in images
        ),
        days=usage_of(days),
    )


def _check_holds(
    key_id: str, holds: Mapping[bytes, bytes], leases: Mapping[bytes, float], held: Iterable[bytes]
) -> None:
    """Each hold has its lease, and no image is held by another. Raises LedgerInvalid."""
    odd = len(holds.keys() ^ leases.keys()) + len(set(held) - holds.keys())
    if odd:
        raise LedgerInvalid(f"Key {key_id}: {odd} holds lack a lease, or stand where no hold is.")


def usage_of(days: Mapping[bytes, bytes]) -> list[DayUsage]:
    """The hash of days as the service sees it, oldest first."""
    counts: dict[int, dict[str, int]] = {}
    for field, count in days.items():
        day, what = field.decode().split(" ")
        counts.setdefault(int(day), {})[what] = int(count)
    return [DayUsage(utc_day(day * DAY_MS), **counts[day]) for day in sorted(counts)]


class Readable:
    """Records that may come from a file: remembers if it was that which failed, and not the server."""

    def __init__(self, records: Iterable[ArchivedRecord]) -> None:
        self._records = records
        self.error: OSError | None = None

    def __iter__(self) -> Iterator[ArchivedRecord]:
        try:
            yield from self._records
        except OSError as error:
            self.error = error
            raise


async def restore(client: Client, records: Iterable[ArchivedRecord]) -> None:
    """Fill an empty store. Raises LedgerNotEmpty, and what ``records`` raises."""
    if await client.zcard(keyspace.ALL_KEYS):
        raise LedgerNotEmpty(_NOT_EMPTY)
    token = secrets.token_hex(8)
    prefix = f"{STAGED}:{token}"
    # First the claim: from now on no other import can publish what is discarded under it.
    await client.set(keyspace.IMPORTING, token)
    await _discard_staged(client, keep=prefix)
    try:
        staged: list[_StagedKey] = []
        for archived in records:
            if archived.account.seq == 0:
                if staged:
                    await staged[-1].finish()
                staged.append(_StagedKey(client, archived, prefix))
            await staged[-1].add(archived)
        if staged:
            await staged[-1].finish()
            await _publish(client, staged, token)
    finally:
        await _discard_staged(client, prefix)
        if await client.get(keyspace.IMPORTING) == token.encode():
            await client.delete(keyspace.IMPORTING)


class _StagedKey:
    """One key of an import, under names that no request looks at."""

    def __init__(self, client: Client, first: ArchivedRecord, prefix: str) -> None:
        self.key_id = first.account.key_id
        self.created_at_ms = first.created_at_ms
        self._names = names_of(self.key_id, prefix)
        self._pipeline = client.pipeline(transaction=False)
        self._last = first
        self._paid: dict[str, Counter[str]] = {}
        self._days: Counter[str] = Counter()

    async def add(self, archived: ArchivedRecord) -> None:
        """Write a record, and count what it changes."""
        self._last = archived
        seq, record = archived.account.seq, archived.link.record
        entry: dict[Any, Any] = {"record": canonical_record(record), "hash": archived.link.hash}
        self._pipeline.xadd(self._names.events, entry, id=f"1-{seq}")
        event = parse_event(record, seq)
        if isinstance(event, Settle):
            charged = (item.image for item in event.items if item.charged)
            if event.charged:
                self._paid.setdefault(event.teacher_revision, Counter()).update(charged)
            day = event.at_ms // DAY_MS
            self._days.update(
                {f"{day} requests": 1, f"{day} charged": event.charged, f"{day} replayed": event.replayed}
            )
        if len(self._pipeline) >= _COMMANDS_AT_ONCE:
            await self._pipeline.execute()

    async def finish(self) -> None:
        """Write what the records add up to."""
        account = self._last.account
        sums: dict[str | bytes, str | int | bytes] = {
            **new_account(self._last.key, self.created_at_ms),
            "budget": account.budget,
            "used": account.used,
            "window_index": account.window_index,
            "used_in_window": account.used_in_window,
            "revoked": int(account.revoked),
            "seq": account.seq,
            "head": account.head,
        }
        for revision, images in self._paid.items():
            sums[b"paid " + bytes.fromhex(revision)] = len(images)
        self._pipeline.hset(self._names.account, mapping=sums)
        if self._days:
            self._pipeline.hset(self._names.days, mapping=dict(self._days))
        for revision, images in self._paid.items():
            self._pipeline.sadd(self._names.revisions, bytes.fromhex(revision))
            charges = {bytes.fromhex(image): count for image, count in images.items()}
            for part in _parts(list(charges.items())):
                self._pipeline.hset(self._names.paid(revision), mapping=dict(part))
        await self._pipeline.execute()

    def renamings(self) -> dict[str, str]:
        """Staged name -> live name, of what was written."""
        staged, live = self._names, names_of(self.key_id)
        names = {staged.account: live.account, staged.events: live.events}
        if self._days:
            names[staged.days] = live.days
        if self._paid:
            names[staged.revisions] = live.revisions
        return names | {staged.paid(revision): live.paid(revision) for revision in self._paid}


def _parts(items: list[Item]) -> Iterator[list[Item]]:
    """Of a length that keeps the server from others only shortly."""
    for start in range(0, len(items), _FIELDS_AT_ONCE):
        yield items[start : start + _FIELDS_AT_ONCE]


async def _publish(client: Client, staged: list[_StagedKey], token: str) -> None:
    """Make the staged keys the ledger, unless a key was opened or another import was begun meanwhile."""
    async with client.pipeline(transaction=True) as together:
        await together.watch(keyspace.ALL_KEYS, keyspace.IMPORTING)
        if await together.zcard(keyspace.ALL_KEYS):
            raise LedgerNotEmpty(_NOT_EMPTY)
        if await together.get(keyspace.IMPORTING) != token.encode():
            raise LedgerNotEmpty(_OVERTAKEN)
        together.multi()
        oldest_first = sorted(staged, key=lambda key: key.created_at_ms)
        for number, key in enumerate(oldest_first, start=1):
            for name, live in key.renamings().items():
                together.rename(name, live)
            together.zadd(keyspace.ALL_KEYS, {key.key_id: number})
        together.hset(keyspace.STORE, "keys", len(staged))
        try:
            await together.execute()
        except WatchError:
            raise LedgerNotEmpty(_OVERTAKEN) from None


async def _discard_staged(client: Client, prefix: str = STAGED, *, keep: str | None = None) -> None:
    """Remove what an import, or any that was killed, left under staged names."""
    async for name in client.scan_iter(match=f"{prefix}:*", count=1000):
        if keep is None or not name.startswith(keep.encode()):
            await client.unlink(name)
