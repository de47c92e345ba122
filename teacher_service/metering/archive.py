"""What a ledger offers beyond serving: to be audited against its chains, and to be restored from an export.

In: nothing but types. Out: the protocol :class:`Archive`, and the comparison of stored sums with a chain's.

Beside what every ledger refuses (drawn in ``ledger.py``)::

    LedgerInvalid      a ledger or an export does not hold
    LedgerNotEmpty     the target of an import has keys already
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.chain import Account, Link
from teacher_service.metering.ledger import DayUsage, Ledger, NewKey


class LedgerInvalid(Exception):
    """A ledger, or its export, does not hold; the message names the first thing that is wrong."""


class LedgerNotEmpty(Exception):
    """An export can only be imported into an empty ledger; nothing is wrong with this one."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a store enforces for one key, read in one transaction, to be compared with the key's chain."""

    seq: int
    head: str
    records: int
    budget: int
    used: int
    window_index: int
    """The latest window that anything was charged in."""
    used_in_window: int
    """Queries charged in that window."""
    revoked: bool
    held: int
    held_by_holds: int
    """Queries under the holds that exist; must equal ``held``."""
    holds: int
    """Recorded holds, expired ones that still stand included."""
    expired_holds: int
    """Those of them whose lease has ended: the next request of the key, or a sweep, gives them back."""
    charges: int
    """Sum over all charged images; must equal ``used``."""
    charged_images: frozenset[tuple[str, str]]
    """(revision, image) of all that counts as paid; must be what the chain charged."""
    days: Sequence[DayUsage]
    """Must be what the chain's settle events add up to, day by day."""


@dataclass(frozen=True, slots=True)
class ArchivedRecord:
    """A checked record of an export, with the key it belongs to and the account after it."""

    key: NewKey
    """Its budget is the one the key was created with."""
    created_at_ms: int
    link: Link
    account: Account


class Archive(Ledger, Protocol):
    """A ledger that can be audited and restored."""

    async def totals(self, key_id: str) -> Totals:
        """What the store enforces for a key. Raises UnknownKey."""

    async def bind(self, public_key: str, *, anew: bool = False) -> str:
        """The public key whose receipts this ledger's clients hold: the one it was first served under.

        Args:
            public_key: becomes it if there is none yet.
            anew: becomes it in any case.

        Raises LedgerUnavailable.
        """

    async def health(self) -> list[str]:
        """What is wrong with the store as a whole, one sentence each: damage that no single key shows.

        Raises LedgerUnavailable if it cannot even be read.
        """

    async def sweep(self) -> None:
        """Release expired holds and forget old idempotency keys; a server does so by itself."""

    async def restore(self, records: Iterable[ArchivedRecord]) -> None:
        """Fill an empty store, all or nothing; an exception of the iterable leaves it empty.

        Raises:
            LedgerNotEmpty: the store has keys already.
            LedgerUnavailable: it cannot be written.
        """


def check_sums(account: Account, **stated: object) -> None:
    """Compare what is stated of a key with what its chain adds up to. Raises LedgerInvalid."""
    true_values = {
        "name": account.name,
        "billing": account.billing,
        "budget": account.budget,
        "window": account.window,
        "used": account.used,
        "revoked": account.revoked,
        "records": account.seq + 1,
        "head": account.head,
    }
    for name, value in stated.items():
        if value != true_values[name]:
            raise LedgerInvalid(
                f"key {account.key_id} is said to have {name} = {value!r}; "
                f"its chain gives {true_values[name]!r}"
            )
