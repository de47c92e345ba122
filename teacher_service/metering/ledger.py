"""The ledger's contract and its domain types: budgets, holds, charges and events behind one protocol.

In: key ids, image digests, descriptor digests. Out: holds, settlements, and the records of the chain.
Every store implements :class:`Ledger` and passes one contract test suite. The promises are written out
in ``docs/metering.md``; its numbered invariants are quoted in the tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol

from shared.budgets import duration_text
from shared.chain import Billing, Link, Window


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as the ledger knows it. The secret itself is never stored."""

    key_id: str
    name: str
    salt: bytes
    secret_hash: bytes
    billing: Billing
    rate: str
    """Rate limit in images, such as ``600/minute``; empty for none."""
    budget: int
    """Queries in all, or for each window."""
    window: Window
    used: int
    """Queries charged in all."""
    used_in_window: int
    """Queries charged in the window that was current when this was read."""
    window_ends_at_ms: int | None
    """When that window ends by the store's clock, milliseconds since 1970; None for a budget in total."""
    held: int
    revoked: bool
    created_at_ms: int

    @property
    def remaining(self) -> int:
        """What budget, charges and holds leave over."""
        return self.budget - self.used_in_window - self.held

    @property
    def spendable(self) -> int:
        """Queries that the key can still buy: what remains, and none once it is revoked."""
        return 0 if self.revoked else self.remaining


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is needed to open a key; its first event is the chain's genesis."""

    key_id: str
    name: str
    salt: bytes
    secret_hash: bytes
    billing: Billing
    rate: str
    budget: int
    window: Window = "total"


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one request asks the ledger for."""

    key_id: str
    request_id: str
    teacher_revision: str
    images: tuple[str, ...]
    """Distinct image digests, in the order of the request."""
    idempotency_key: str | None = None
    body_digest: str = ""
    """Digest of what the request asks (model and image digests), to which an idempotency key is bound."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A granted reservation: ``charged`` queries are held until it is settled, released or expires."""

    hold_id: str
    reservation: Reservation
    charged_images: frozenset[str]
    """The images that this request will pay for; the others are replays."""
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """A durable charge, and where it stands on the chain."""

    link: Link
    seq: int
    charged: int
    replayed: int
    used_after: int
    budget: int
    remaining: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a key's chain and the account at that point, read in one transaction."""

    key_id: str
    seq: int
    hash: str
    used: int
    budget: int


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What a key did on one day of UTC."""

    day: date
    requests: int
    """Settled ones."""
    charged: int
    replayed: int


DAY_MS = 86_400_000
MIN_REPLAYS_A_DAY, REPLAYS_A_DAY_PER_QUERY = 100_000, 10
"""Images that a key may be delivered again in a day of UTC: at least, and for each query of its budget. Each
is free and on the ledger for ever: without a bound one key could fill the store for all others."""
NOT_OPEN = "The ledger is not open: nothing was charged, and nothing is delivered."


def utc_day(at_ms: int) -> date:
    """The day of UTC that a moment, in milliseconds since 1970, lies in."""
    return datetime.fromtimestamp(at_ms // DAY_MS * 86_400, UTC).date()


class LedgerError(Exception):
    """Root of what a ledger refuses:

    ::

        LedgerError
        ├── LedgerUnavailable      the store cannot be reached or written: serve nothing
        │   ├── AccountDamaged     what it holds for a key makes no sense
        │   └── StoreRolledBack    it lacks records that were seen (``watermarks.py``)
        ├── SigningKeyChanged      it was served under another key for receipts
        ├── UnknownKey             no such key
        ├── KeyExists              a key of this id was made before
        ├── BudgetChanged          a grant was meant for another budget than the key has now
        ├── KeyRevoked             the key may not spend any more
        ├── BudgetExhausted        used + held + n would exceed the budget; all n refused
        ├── TooManyReplays         the free repeats of the day are used up
        ├── InFlight               the same image, or idempotency key, is being served elsewhere
        ├── IdempotencyMismatch    the idempotency key was used for another body
        └── HoldExpired            the hold is gone: nothing may be delivered for it

    What an audit or an import refuses besides is drawn in ``archive.py``.
    """


class LedgerUnavailable(LedgerError):
    """The store cannot be reached or written. The caller must not deliver anything."""


class SigningKeyChanged(LedgerError):
    """The ledger was served under another signing key, whose receipts its clients hold."""


class AccountDamaged(LedgerUnavailable):
    """What the store holds for a key makes no sense: nothing is served to it."""


class UnknownKey(LedgerError):
    """No such key."""


class KeyExists(LedgerError):
    """A key of this id was made before; nothing was changed."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"Key {key_id} exists already.")
        self.key_id = key_id


class BudgetChanged(LedgerError):
    """A grant was meant for another budget than the key has now: nothing was granted.

    Budgets only grow, so a grant that is repeated under the same ``expected_budget`` is never made twice.
    """

    def __init__(self, key_id: str, *, expected: int, budget: int, amount: int) -> None:
        made = ", as this grant would have left it: it may have been made before" * (
            budget == expected + amount
        )
        super().__init__(
            f"Nothing was granted: key {key_id} was expected to have a budget of {expected:,} queries, "
            f"it has {budget:,}{made}. Look at the key before you grant again."
        )
        self.key_id, self.budget = key_id, budget


class KeyRevoked(LedgerError):
    """The key was revoked; holds that it still had are gone."""


class BudgetExhausted(LedgerError):
    """The request needs more queries than are left; nothing was held.

    Args:
        refills_in_ms: time until the next window of the budget; None for a budget in total.
    """

    def __init__(
        self, key_id: str, needed: int, remaining: int, budget: int, refills_in_ms: int | None = None
    ) -> None:
        refill = ""
        if refills_in_ms is not None and needed <= budget:
            refill = f", or wait {duration_text(refills_in_ms)} for the next window"
        elif refills_in_ms is not None:
            refill = ", or ask for fewer images at once: no window is large enough for these"
        super().__init__(
            f"Budget exhausted: this request needs {needed:,} queries, {remaining:,} of {budget:,} are left "
            f"for key {key_id}. Ask the owner for a grant{refill}; this request will not be retried."
        )
        self.key_id, self.needed, self.remaining, self.budget = key_id, needed, remaining, budget
        self.refills_in_ms = refills_in_ms


class TooManyReplays(LedgerError):
    """The key has had all free replays of this day; nothing was held."""

    def __init__(self, key_id: str, limit: int, again_in_ms: int) -> None:
        super().__init__(
            f"Key {key_id} had its {limit:,} free repeats of today: keep what was delivered. More in "
            f"{again_in_ms // 60_000 + 1} min."
        )
        self.again_in_ms = again_in_ms


class InFlight(LedgerError):
    """Another live hold of this key covers one of the images, or the same idempotency key."""

    def __init__(self, what: str, retry_after_ms: int) -> None:
        super().__init__(f"{what} is being served by another request; try again in {retry_after_ms} ms.")
        self.retry_after_ms = retry_after_ms


class IdempotencyMismatch(LedgerError):
    """The idempotency key was used before, for a different body."""


class HoldExpired(LedgerError):
    """The hold was released, expired or settled before; nothing may be delivered for it."""


class Ledger(Protocol):
    """Where budgets, holds, charges and events live together and change in one transaction."""

    async def open(self) -> None:
        """Connect, create what is missing, refuse unsafe settings, and drop the holds of a dead owner."""

    async def close(self) -> None:
        """Finish what is queued and disconnect."""

    async def ping(self) -> None:
        """Raise :class:`LedgerUnavailable` unless a durable write would succeed now."""

    async def create_key(self, key: NewKey) -> KeyRecord:
        """Open a key; writes the genesis event. Raises KeyExists."""

    async def key(self, key_id: str) -> KeyRecord | None:
        """The key's current account, or None if there is no such key."""

    async def keys(self) -> list[KeyRecord]:
        """All keys, oldest first."""

    async def grant(self, key_id: str, amount: int, *, expected_budget: int | None = None) -> KeyRecord:
        """Raise a budget; writes a grant event.

        Args:
            key_id: the key.
            amount: queries to add, in all or to each window.
            expected_budget: grant only if this is the budget now, compared in the same transaction: so a
                grant whose answer was lost can be repeated without granting twice.

        Raises:
            UnknownKey, KeyRevoked, BudgetChanged, LedgerUnavailable
            ValueError: ``amount`` is no possible grant.
        """

    async def revoke(self, key_id: str) -> KeyRecord:
        """Revoke a key and drop its holds; writes a revoke event. Revoking twice changes nothing."""

    async def reserve(self, reservation: Reservation) -> Hold:
        """Hold one query for each image that must be charged: all of them, or none.

        Raises:
            UnknownKey, KeyRevoked, BudgetExhausted, InFlight, IdempotencyMismatch, LedgerUnavailable
        """

    async def settle(self, hold: Hold, descriptors: Mapping[str, str]) -> Settlement:
        """Turn a hold into a durable charge and append its event; only then may bytes leave.

        Args:
            hold: from :meth:`reserve`.
            descriptors: image digest -> descriptor digest, for every image of the reservation.

        Raises:
            HoldExpired, KeyRevoked, LedgerUnavailable
        """

    async def release(self, hold: Hold) -> None:
        """Give a hold back; does nothing if it is gone already."""

    async def links(self, key_id: str, *, after: int = -1, limit: int = 1000) -> Sequence[Link]:
        """Records of a key's chain with ``seq > after``, oldest first."""

    async def head(self, key_id: str) -> Head:
        """The end of the key's chain. Raises UnknownKey."""

    async def usage_by_day(self, key_id: str) -> Sequence[DayUsage]:
        """What the key did, oldest day first; days without a settled request are left out.

        Raises UnknownKey.
        """
