"""Audit of a ledger, and import of an export: every chain verified, every total cross-checked.

In: a ledger, or an export file of one. Out: the accounts that hold, or the first thing that is wrong.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from shared.chain import Account, ChainBroken, Link, verify_chain
from teacher_service.metering.archive import Archive, LedgerInvalid, Totals, check_sums
from teacher_service.metering.auditing.export_file import read_archive
from teacher_service.metering.auditing.spending_sums import DaySums, check_days, check_window
from teacher_service.metering.ledger import KeyRecord

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Verified:
    """The accounts of a ledger that holds, in order of their key ids."""

    accounts: tuple[Account, ...]

    @property
    def records(self) -> int:
        """Records on all chains."""
        return sum(account.seq + 1 for account in self.accounts)

    @property
    def used(self) -> int:
        """Queries charged on all chains."""
        return sum(account.used for account in self.accounts)


async def verify_store(ledger: Archive) -> Verified:
    """Check every chain of an open ledger, and that what the store enforces is what the chain adds up to.

    A server may go on working meanwhile: each key is checked as of one moment.

    Raises:
        LedgerInvalid: names the key, and the record where there is one.
        LedgerUnavailable: the ledger cannot be read.
    """
    accounts = []
    for key in await sorted_keys(ledger):
        accounts.append(await verify_key(ledger, key, await ledger.totals(key.key_id)))
    return Verified(tuple(accounts))


def verify_export(lines: Iterable[bytes]) -> Verified:
    """Check an export file. Raises LedgerInvalid, naming the line, the key and the record."""
    accounts = {record.key.key_id: record.account for record in read_archive(lines)}
    return Verified(tuple(accounts.values()))


async def import_ledger(ledger: Archive, lines: Iterable[bytes]) -> Verified:
    """Fill an empty ledger from an export, all or nothing; its chains go on and its API keys work.

    Raises:
        LedgerInvalid: the export does not hold.
        LedgerNotEmpty: the ledger has keys already.
        LedgerUnavailable: the ledger cannot be written.
    """
    await ledger.restore(read_archive(lines))
    return await verify_store(ledger)


async def sorted_keys(ledger: Archive) -> list[KeyRecord]:
    """All keys in order of their ids, as an export lists them."""
    return sorted(await ledger.keys(), key=lambda key: key.key_id)


async def verify_key(ledger: Archive, key: KeyRecord, totals: Totals) -> Account:
    """Check a key's chain up to ``totals.seq``, and that the totals are what it adds up to.

    Raises:
        LedgerInvalid: names the key, and the record where there is one.
        LedgerUnavailable: the ledger cannot be read.
    """
    account: Account | None = None
    async for _, account in verified_pages(ledger, key, totals):  # noqa: B007
        pass
    assert account is not None, "a chain without records is not verified"
    return account


async def verified_pages(
    ledger: Archive, key: KeyRecord, totals: Totals
) -> AsyncIterator[tuple[list[Link], Account]]:
    """The records of a key up to ``totals.seq``, each page with the account after it.

    Pages that went out are verified as a chain; that the totals agree is known once the iteration has ended.
    Raises what :func:`verify_key` raises.
    """
    account: Account | None = None
    days = DaySums()
    async for page in pages(ledger, key.key_id, totals.seq):
        # In a thread: a server that exports goes on answering meanwhile.
        account = await asyncio.to_thread(_advance, key, page, account)
        days.add(page)
        yield page, account
    await asyncio.to_thread(_checked, key, totals, account, days)


async def pages(ledger: Archive, key_id: str, last: int) -> AsyncIterator[list[Link]]:
    """The chain up to record ``last``, page by page and unverified: later records are left out.

    Raises LedgerInvalid where one is missing or no JSON, LedgerUnavailable.
    """
    after = -1
    while after < last:
        try:
            page = list(await ledger.links(key_id, after=after, limit=min(_PAGE, last - after)))
        except ValueError as error:
            raise LedgerInvalid(f"Key {key_id}: a record after {after} cannot be read ({error}).") from None
        if not page:
            raise LedgerInvalid(f"Key {key_id}: Ledger record {after + 1}: is missing.")
        yield page
        after += len(page)


def _advance(key: KeyRecord, page: list[Link], account: Account | None) -> Account:
    try:
        return verify_chain(page, account)
    except ChainBroken as error:
        raise LedgerInvalid(f"Key {key.key_id}: {error}.") from None


def _checked(key: KeyRecord, totals: Totals, account: Account | None, days: DaySums) -> Account:
    """The account, if the store enforces exactly it."""
    if account is None or account.key_id != key.key_id:
        raise LedgerInvalid(f"Key {key.key_id}: it has no chain of its own.")
    check_sums(
        account,
        name=key.name,
        billing=key.billing,
        budget=totals.budget,
        window=key.window,
        used=totals.used,
        revoked=totals.revoked,
        records=totals.records,
        head=totals.head,
    )
    check_window(totals, account)
    check_days(totals, account, days)
    _check_charged_images(key, totals, account)
    if totals.charges != totals.used:
        raise LedgerInvalid(
            f"Key {key.key_id}: {totals.used} queries are used, "
            f"its charged images sum up to {totals.charges}."
        )
    if totals.held_by_holds != totals.held:
        raise LedgerInvalid(
            f"Key {key.key_id}: {totals.held} queries are held, its holds sum up to {totals.held_by_holds}."
        )
    return account


def _check_charged_images(key: KeyRecord, totals: Totals, account: Account) -> None:
    """The images themselves: a count alone would let one be exchanged for another."""
    wrong = totals.charged_images ^ account.charged_images
    if wrong:
        revision, image = min(wrong)
        states = ("unpaid", "paid") if (revision, image) in account.charged_images else ("paid", "unpaid")
        raise LedgerInvalid(
            f"Key {key.key_id}: {len(wrong)} charged images disagree; the first is image {image[:12]} under "
            f"revision {revision[:12]}: {states[0]} in the store, {states[1]} on the chain."
        )
