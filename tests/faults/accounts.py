"""The day of reckoning: what clients hold is compared with what the ledger says that they were charged.

In: a store, and what a crowd was given. Out: the four counts of violations in its tally, and in words
whatever else does not hold. The chain is added up here once more, by other code than the one under test.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from faults.tally import Tally

from shared.chain import Link
from shared.receipts import Receipt
from teacher_service.metering.archive import Archive, LedgerInvalid
from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.ledger import KeyRecord
from teacher_service.metering.stores import open_ledger

Result = TypeVar("Result")
PAGE = 1000


def beside(url: str, work: Callable[[Archive], Awaitable[Result]]) -> Result:
    """Do something with a ledger as a command does, beside a service that may be running."""

    async def opened() -> Result:
        ledger = open_ledger(url, serve=False)
        await ledger.open()
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    return asyncio.run(opened())


async def whole_chain(ledger: Archive, key_id: str) -> list[Link]:
    """All records of a key."""
    links: list[Link] = []
    while page := await ledger.links(key_id, after=len(links) - 1, limit=PAGE):
        links.extend(page)
    return links


async def free_of_holds(ledger: Archive, key_id: str, lease_ms: int) -> KeyRecord:
    """The account once nothing is held: a dead replica's holds end with their lease."""
    deadline_s = time.monotonic() + 5 * lease_ms / 1000
    while True:
        await ledger.sweep()
        record = await ledger.key(key_id)
        assert record is not None
        if record.held == 0 or time.monotonic() > deadline_s:
            return record
        await asyncio.sleep(0.02)


def reckon(
    url: str,
    key_id: str,
    tally: Tally,
    *,
    delivered: Mapping[str, Iterable[str]],
    receipts: Sequence[Receipt],
    wanted: Iterable[str],
    lease_ms: int,
) -> None:
    """Compare, count, and write down what does not hold.

    Args:
        url: of the ledger.
        delivered: image digest -> digests of the descriptors that a client holds.
        receipts: that a client holds.
        wanted: image digests that the key was to pay, once each.
        lease_ms: of a hold.
    """

    async def read(ledger: Archive) -> tuple[list[Link], KeyRecord]:
        record = await free_of_holds(ledger, key_id, lease_ms)
        try:
            await verify_store(ledger)
        except LedgerInvalid as error:
            tally.other.append(f"verify_store: {error}")
        return await whole_chain(ledger, key_id), record

    links, record = beside(url, read)
    settled = [link.record for link in links if link.record["kind"] == "settle"]
    charges = Counter(item["image"] for event in settled for item in event["items"] if item["charged"])
    on_chain = {(item["image"], item["descriptor"]) for event in settled for item in event["items"]}
    held = {(image, descriptor) for image, found in delivered.items() for descriptor in found}

    tally.overspent += max(0, charges.total() - record.budget)
    tally.charged_twice += sum(count - 1 for count in charges.values())
    tally.delivered_uncharged += len(held - on_chain) + len({image for image, _ in held} - set(charges))
    tally.charged_undelivered += len(set(charges) - {image for image, _ in held})
    _compare(tally, "held", record.held, 0)
    _compare(tally, "used", record.used, charges.total())
    _compare(tally, "distinct images charged", set(charges), set(wanted))
    for receipt in receipts:
        _check_receipt(tally, receipt, links)


def _check_receipt(tally: Tally, receipt: Receipt, links: Sequence[Link]) -> None:
    """A receipt that is not on the chain is a delivery whose charge was lost."""
    if receipt.seq >= len(links) or links[receipt.seq].hash != receipt.ledger_head:
        tally.delivered_uncharged += receipt.charged + receipt.replayed
        tally.other.append(f"the receipt of record {receipt.seq} is not on the chain of {len(links)}")
        return
    record = links[receipt.seq].record
    for name in ("key_id", "request_id", "charged", "replayed", "used_after", "teacher_revision"):
        _compare(tally, f"{name} of record {receipt.seq}", getattr(receipt, name), record[name])


def _compare(tally: Tally, what: str, found: Any, expected: Any) -> None:
    if found == expected:
        return
    if isinstance(found, set):
        found, expected = f"{len(found - expected)} too many", f"{len(expected - found)} more"
    tally.other.append(f"{what}: {found}, expected {expected}")
