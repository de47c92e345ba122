"""What a key's owner changes on Redis: opening, granting, revoking.

In: a new key, or the id of one. Out: the event on its chain, and the account that follows from it. Like
settlements, events are hashed here and refused by the script if the chain went on meanwhile.
"""

from collections.abc import Callable
from itertools import chain

from shared.chain import ZERO_HASH, Grant, Link, Revoke, canonical_record, link
from teacher_service.metering.events import genesis_event
from teacher_service.metering.ledger import KeyExists, NewKey
from teacher_service.metering.redis import keyspace
from teacher_service.metering.redis.chain_ends import AccountNow, ChainEnds
from teacher_service.metering.redis.clock import Clock
from teacher_service.metering.redis.connection import Client, RedisConnection
from teacher_service.metering.redis.keyspace import names_of, new_account
from teacher_service.metering.refusals import check_grant, key_revoked


class KeyAdmin:
    """Writes genesis, grant and revoke events."""

    def __init__(self, connection: RedisConnection, chains: ChainEnds, clock: Clock) -> None:
        self._connection = connection
        self._chains = chains
        self._clock = clock

    async def open_key(self, key: NewKey) -> None:
        """Write the account and its genesis. Raises KeyExists, LedgerUnavailable."""
        now_ms = self._clock()
        first = link(genesis_event(key, now_ms), ZERO_HASH)
        account = {**new_account(key, now_ms), "seq": 0, "head": first.hash}
        # On the list before it exists: a key that is on no list could be spent from unseen.
        await self._connection.ask(lambda client: _enlist(client, key.key_id))
        names = names_of(key.key_id)
        fields = chain.from_iterable(account.items())
        args = (canonical_record(first.record), first.hash, *fields)
        reply = await self._connection.run("open_key", (names.account, names.events), args)
        if reply[0] == b"exists":
            raise KeyExists(key.key_id)
        self._chains.learn(key.key_id, (0, first.hash.encode("ascii"), 0, 0))

    async def grant(self, key_id: str, amount: int, expected_budget: int | None) -> None:
        """Raises UnknownKey, KeyRevoked, BudgetChanged, ValueError, LedgerUnavailable."""

        def event(account: AccountNow) -> Link:
            if account.revoked:
                raise key_revoked(key_id)
            after = check_grant(key_id, account.budget, amount, expected_budget)
            seq = account.end.seq + 1
            at_ms = max(account.now_ms, account.end.window_start_ms)
            grant = Grant(key_id=key_id, seq=seq, at_ms=at_ms, amount=amount, budget_after=after)
            return link(grant, account.end.hash)

        await self._amend(key_id, event, str(amount))

    async def revoke(self, key_id: str) -> None:
        """Drops the key's holds; does nothing if it is revoked. Raises UnknownKey, LedgerUnavailable."""

        def event(account: AccountNow) -> Link | None:
            if account.revoked:
                return None
            at_ms = max(account.now_ms, account.end.window_start_ms)
            return link(Revoke(key_id=key_id, seq=account.end.seq + 1, at_ms=at_ms), account.end.hash)

        await self._amend(key_id, event, "")

    async def _amend(self, key_id: str, event: Callable[[AccountNow], Link | None], granted: str) -> None:
        """Append the event that follows from the account, as often as others are faster."""
        names = names_of(key_id)
        keys = (names.account, names.events, names.holds, names.leases, names.held_images, names.calls)
        while True:
            account = await self._chains.look(key_id)
            new = event(account)
            if new is None:
                return
            end = account.end
            args = (end.seq, end.hash, granted, canonical_record(new.record), new.hash)
            reply = await self._connection.run("amend", keys, args)
            if reply[0] == b"amended":
                after = (end.seq + 1, new.hash.encode("ascii"), end.used, end.window_start_ms)
                self._chains.learn(key_id, after)
                return


async def _enlist(client: Client, key_id: str) -> None:
    number = await client.hincrby(keyspace.STORE, "keys", 1)
    await client.zadd(keyspace.ALL_KEYS, {key_id: number}, nx=True)
