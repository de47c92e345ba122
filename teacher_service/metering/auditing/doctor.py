"""The doctor: recompute everything from the events, and say in one line whether it agrees or what does not.

In: an open ledger; a server may go on working beside it. Out: a :class:`Finding` for the whole ledger. Unlike
``verify`` it goes on after a fault, so that all of the damage is known before anybody repairs it.
"""

from dataclasses import dataclass, fields

from shared.chain import Account
from teacher_service.metering.archive import Archive, LedgerInvalid, Totals
from teacher_service.metering.auditing.verify import sorted_keys, verify_key
from teacher_service.metering.ledger import AccountDamaged, KeyRecord, LedgerUnavailable, UnknownKey
from teacher_service.metering.watermarks import StoreRolledBack

_SENSELESS = (ValueError, KeyError, OverflowError)
"""Raised by values that no ledger of ours would have written."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one key: the first thing, since what follows from it says nothing new."""

    key_id: str
    name: str
    what: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What the doctor found; the sums are those of the keys that hold."""

    keys: int
    """All keys, also those that do not hold."""
    records: int
    used: int
    """Queries that the store says are used."""
    events: int
    """Queries that the events add up to."""
    charged_images: int
    """Charges that stand beside the images."""
    held: int
    held_by_holds: int
    holds: int
    expired_holds: int
    """Still standing although their lease has ended: no fault, the key's next request gives them back."""
    faults: tuple[Fault, ...]
    store_faults: tuple[str, ...]
    """What is wrong with the store as a whole, one sentence each."""
    marks: int
    """Keys whose newest record that a service saw was looked for; without any, a rollback cannot be seen."""

    @property
    def healthy(self) -> bool:
        """Whether everything agrees."""
        return not self.faults and not self.store_faults

    @property
    def summary(self) -> str:
        """One line that says it all, or how much is wrong."""
        if not self.healthy:
            parts = [f"{len(self.faults):,} of {self.keys:,} keys do not hold"] * bool(self.faults)
            parts += [f"the store itself has {len(self.store_faults):,} faults"] * bool(self.store_faults)
            return f"{' and '.join(parts)}."
        expired = f" ({self.expired_holds:,} expired, not yet given back)" if self.expired_holds else ""
        return (
            f"healthy: {self.keys:,} keys, {self.records:,} records: used {self.used:,} = events "
            f"{self.events:,} = charged images {self.charged_images:,}; held {self.held:,} = "
            f"{self.held_by_holds:,} under {self.holds:,} holds{expired}; the store is sound"
            f"{self._compared}."
        )

    @property
    def _compared(self) -> str:
        if self.marks:
            return f", and holds the newest records that were seen of {self.marks:,} keys"
        return " (no watermarks here: a store put back to an older state cannot be seen)" * bool(self.keys)


def rolled_back(why: str) -> Finding:
    """The finding on a store that is older than what was seen of it: no more of it is looked at."""
    nothing = {field.name: 0 for field in fields(Finding) if field.type is int}
    return Finding(**nothing, faults=(), store_faults=(why,))


async def examine(ledger: Archive, marks: int = 0) -> Finding:
    """Check the store as a whole, then every key.

    Args:
        ledger: open; opening it compared it with the watermarks of this service.
        marks: of how many keys there were watermarks.

    Raises:
        LedgerUnavailable: it cannot be read, although nothing is known to be wrong with it.
    """
    store_faults = await ledger.health()
    keys = await _keys(ledger, store_faults)
    sound: list[tuple[Account, Totals]] = []
    faults: list[Fault] = []
    for key in keys:
        examined = await _examined(ledger, key, damaged=bool(store_faults))
        if isinstance(examined, Fault):
            faults.append(examined)
        else:
            sound.append(examined)
    return Finding(
        keys=len(keys),
        records=sum(account.seq + 1 for account, _ in sound),
        used=sum(totals.used for _, totals in sound),
        events=sum(account.used for account, _ in sound),
        charged_images=sum(totals.charges for _, totals in sound),
        held=sum(totals.held for _, totals in sound),
        held_by_holds=sum(totals.held_by_holds for _, totals in sound),
        holds=sum(totals.holds for _, totals in sound),
        expired_holds=sum(totals.expired_holds for _, totals in sound),
        faults=tuple(faults),
        store_faults=tuple(store_faults),
        marks=marks,
    )


async def _keys(ledger: Archive, store_faults: list[str]) -> list[KeyRecord]:
    """All keys; that they cannot be read is one more fault, unless the store is merely away."""
    try:
        return await sorted_keys(ledger)
    except (AccountDamaged, StoreRolledBack) as error:
        store_faults.append(str(error))
    except LedgerUnavailable as error:
        if not store_faults:
            raise
        store_faults.append(f"The keys cannot be read ({error}).")
    except _SENSELESS as error:
        store_faults.append(f"The account of a key makes no sense ({error}).")
    return []


async def _examined(ledger: Archive, key: KeyRecord, *, damaged: bool) -> tuple[Account, Totals] | Fault:
    """What a key adds up to, or what is wrong with it.

    Raises:
        LedgerUnavailable: it cannot be read, although the store is not known to be ``damaged``.
    """
    try:
        totals = await ledger.totals(key.key_id)
        account = await verify_key(ledger, key, totals)
        _check_not_overdrawn(key, totals)
        return account, totals
    except LedgerInvalid as error:
        what = str(error)
    except LedgerUnavailable as error:
        if not damaged and not isinstance(error, StoreRolledBack):
            raise
        what = f"Key {key.key_id}: it cannot be read ({error})."
    except UnknownKey:
        what = f"Key {key.key_id}: it is listed, but its account or its chain is gone."
    except _SENSELESS as error:
        what = f"Key {key.key_id}: its account makes no sense ({error})."
    return Fault(key.key_id, key.name, what)


def _check_not_overdrawn(key: KeyRecord, totals: Totals) -> None:
    """Invariant 1. Raises LedgerInvalid."""
    if totals.used_in_window + totals.held > totals.budget:
        raise LedgerInvalid(
            f"Key {key.key_id}: {totals.used_in_window} queries are used and {totals.held} are held "
            f"of a budget of {totals.budget}."
        )
