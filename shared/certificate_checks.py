"""The checks that a budget certificate rests on: its chain, head, receipts, and what was delivered.

In: ledger records, signed statements, and which record delivered which image. Out: what they add up to, or
CertificateInvalid for the first thing that is wrong. No I/O.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from shared.chain import (
    Account,
    ChainBroken,
    Count,
    Genesis,
    Grant,
    Item,
    Link,
    Settle,
    Sha256Hex,
    parse_event,
    verify_chain,
)
from shared.receipts import BadReceipt, Receipt, SignedHead, SignedReceipt, delivery_digest


class CertificateInvalid(ValueError):
    """A certificate does not hold; the message names the first thing that is wrong."""


class Delivery(BaseModel):
    """An image of the transfer set, and the ledger record that delivered its descriptor."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    image: Sha256Hex
    seq: Count


@dataclass(frozen=True, slots=True)
class ReadChain:
    """A chain that holds: what it adds up to, and its settle events with the budget at each."""

    account: Account
    links: Sequence[Link]
    settled: Mapping[int, Settle]
    budget_at: Mapping[int, int]


def read_chain(links: Sequence[Link]) -> ReadChain:
    """Verify a chain and read its settle events."""
    try:
        account = verify_chain(links)
        events = [parse_event(entry.record, seq) for seq, entry in enumerate(links)]
    except ChainBroken as error:
        raise CertificateInvalid(str(error)) from None
    budget, budget_at, settled = 0, {}, {}
    for event in events:
        match event:
            case Genesis():
                budget = event.budget
            case Grant():
                budget = event.budget_after
            case Settle():
                settled[event.seq], budget_at[event.seq] = event, budget
    return ReadChain(account, links, settled, budget_at)


def check_head(head: SignedHead, account: Account, public_key: str) -> None:
    """The signed head must be the chain's end."""
    try:
        body = head.verify(public_key)
    except BadReceipt as error:
        raise CertificateInvalid(f"The ledger head: {error}") from None
    stated = (body.key_id, body.seq, body.ledger_head, body.used, body.budget)
    if stated != (account.key_id, account.seq, account.head, account.used, account.budget):
        raise CertificateInvalid(
            f"The signed head is record {body.seq} of key {body.key_id} with {body.used} used; "
            f"the chain ends at record {account.seq} of key {account.key_id} with {account.used} used."
        )


def check_receipts(receipts: Iterable[SignedReceipt], chain: ReadChain, public_key: str) -> None:
    """Every receipt is signed by the service, lies on the chain, and says what its record says."""
    for signed in receipts:
        try:
            receipt = signed.verify(public_key)
        except BadReceipt as error:
            raise CertificateInvalid(f"The receipt of request {signed.body.request_id}: {error}") from None
        event = chain.settled.get(receipt.seq)
        if event is None or chain.links[receipt.seq].hash != receipt.ledger_head:
            raise CertificateInvalid(
                f"The receipt of request {receipt.request_id} names record {receipt.seq}, "
                "which is not on this chain: the ledger was cut, forked or rolled back."
            )
        if not _agrees(receipt, event, chain.budget_at[event.seq]):
            raise CertificateInvalid(
                f"The receipt of request {receipt.request_id} contradicts record {receipt.seq}."
            )


def _agrees(receipt: Receipt, event: Settle, budget: int) -> bool:
    stated = receipt.model_dump(exclude={"kind", "ledger_head", "issued_at_ms"})
    recorded = event.model_dump(exclude={"kind", "at_ms", "items"})
    return stated == {**recorded, "budget": budget, "delivery_digest": delivery_digest(event.items)}


def check_coverage(
    deliveries: Sequence[Delivery], receipts: Iterable[SignedReceipt], account: Account, revision: str
) -> None:
    """Every stored descriptor came with a kept receipt, and the transfer set hides nothing charged."""
    with_receipt = {receipt.body.seq for receipt in receipts}
    for delivery in deliveries:
        if delivery.seq not in with_receipt:
            raise CertificateInvalid(f"Image {delivery.image[:12]} has no receipt (record {delivery.seq}).")
    charged = {image for charged_revision, image in account.charged_images if charged_revision == revision}
    missing = charged - {delivery.image for delivery in deliveries}
    if missing:
        raise CertificateInvalid(
            f"{len(missing)} charged images are not in the transfer set, the first {min(missing)[:12]}: "
            "the key was also used elsewhere, or answers were lost. Fetch delivers lost answers again, "
            "free; what was bought elsewhere cannot be mended: use a key of its own for each run folder."
        )


def delivered_descriptors(deliveries: Iterable[Delivery], settled: Mapping[int, Settle]) -> dict[str, str]:
    """image digest -> descriptor digest, each looked up in the record that delivered it."""
    items: dict[int, dict[str, Item]] = {}
    descriptors: dict[str, str] = {}
    for delivery in deliveries:
        if delivery.seq not in settled:
            raise CertificateInvalid(f"Image {delivery.image[:12]}: record {delivery.seq} settles nothing.")
        if delivery.seq not in items:
            items[delivery.seq] = {item.image: item for item in settled[delivery.seq].items}
        item = items[delivery.seq].get(delivery.image)
        if item is None:
            raise CertificateInvalid(f"Record {delivery.seq} did not deliver image {delivery.image[:12]}.")
        if delivery.image in descriptors:
            raise CertificateInvalid(f"Image {delivery.image[:12]} is listed twice.")
        descriptors[delivery.image] = item.descriptor
    return descriptors


def single_revision(deliveries: Iterable[Delivery], settled: Mapping[int, Settle]) -> str:
    """The teacher revision that gave every delivered descriptor."""
    revisions = {settled[delivery.seq].teacher_revision for delivery in deliveries}
    if len(revisions) != 1:
        found = ", ".join(sorted(revision[:12] for revision in revisions)) or "none"
        raise CertificateInvalid(f"Expected descriptors of exactly one teacher revision, found {found}.")
    return revisions.pop()
