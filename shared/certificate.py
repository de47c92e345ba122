"""The budget certificate: what a distillation spent, checkable by a third person without the service.

In: a key's whole chain, its signed head, the receipts that the client kept, and which image was
delivered by which record. Out: a JSON document, and the findings of checking one. No I/O.

It proves, given the service's public key: how many queries the key was charged up to the signed head;
that no image was charged twice (billing ``distinct``); that every descriptor the student may have
learned from was delivered by a record of that chain; and that one teacher revision gave them all.
It cannot prove that the student learned from nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.chain import Account, ChainBroken, Count, Item, Link, Settle, Sha256Hex, parse_event, verify_chain
from shared.digest import digest_of_list
from shared.receipts import BadReceipt, SignedHead, SignedReceipt, delivery_digest


class CertificateInvalid(ValueError):
    """A certificate does not hold; the message names the first thing that is wrong."""


class ChainLink(BaseModel):
    """One ledger record in the document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: dict[str, Any]
    hash: Sha256Hex


class Delivery(BaseModel):
    """An image of the transfer set, and the ledger record that delivered its descriptor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Sha256Hex
    seq: Count


class Certificate(BaseModel):
    """The document ``certificate.json``. The claims are recomputed by :func:`verify_certificate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["ration-certificate/1"] = "ration-certificate/1"
    statement: str
    """One line for people; derived from the claims, not trusted."""
    queries_charged: Count
    replays: Count
    budget: Count
    images: Count
    teacher_revision: Sha256Hex
    transfer_set_digest: Sha256Hex
    """:func:`transfer_set_digest` of the descriptors that the client holds."""
    public_key: str = Field(pattern=r"^[0-9a-f]{64}$")
    head: SignedHead
    chain: tuple[ChainLink, ...]
    receipts: tuple[SignedReceipt, ...]
    transfer_set: tuple[Delivery, ...]


@dataclass(frozen=True)
class Verified:
    """What a valid certificate establishes."""

    account: Account
    images: int
    teacher_revision: str
    statement: str


def transfer_set_digest(descriptors: Mapping[str, str]) -> str:
    """Digest of the sorted list of (image digest, descriptor digest)."""
    return digest_of_list(sorted(descriptors.items()))


def build_certificate(
    chain: Sequence[Link],
    head: SignedHead,
    receipts: Sequence[SignedReceipt],
    delivered_by: Mapping[str, int],
) -> Certificate:
    """Assemble and check a certificate.

    Args:
        chain: the key's records up to and including the signed head.
        head: the service's signed statement of the head.
        receipts: every receipt that the client kept.
        delivered_by: image digest -> ``seq`` of the record that delivered the stored descriptor.

    Raises:
        CertificateInvalid: the parts contradict each other.
    """
    deliveries = tuple(Delivery(image=image, seq=seq) for image, seq in sorted(delivered_by.items()))
    settled = _settled_events(chain)
    account = _account_of(chain)
    descriptors = _delivered_descriptors(deliveries, settled)
    revision = _single_revision(deliveries, settled)
    certificate = Certificate(
        statement=statement_of(account, len(deliveries), revision),
        queries_charged=account.used,
        replays=account.replayed,
        budget=account.budget,
        images=len(deliveries),
        teacher_revision=revision,
        transfer_set_digest=transfer_set_digest(descriptors),
        public_key=head.public_key,
        head=head,
        chain=tuple(ChainLink(record=dict(entry.record), hash=entry.hash) for entry in chain),
        receipts=tuple(sorted(receipts, key=lambda receipt: receipt.body.seq)),
        transfer_set=deliveries,
    )
    verify_certificate(certificate, head.public_key)
    return certificate


def parse_certificate(data: bytes) -> Certificate:
    """Read the document.

    Raises:
        CertificateInvalid: not JSON, or not a certificate.
    """
    try:
        return Certificate.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise CertificateInvalid(f"Not a certificate: {where}: {first['msg']}.") from None


def verify_certificate(certificate: Certificate, public_key: str) -> Verified:
    """Check every signature, the chain, the receipts' places on it, and the claims.

    Args:
        certificate: the document.
        public_key: the service's Ed25519 key in hexadecimal, learned from the service itself.

    Raises:
        CertificateInvalid: names the first thing that is wrong.
    """
    chain = [Link(entry.record, entry.hash) for entry in certificate.chain]
    account = _account_of(chain)
    settled = _settled_events(chain)
    _check_head(certificate.head, account, public_key)
    _check_receipts(certificate.receipts, chain, settled, public_key)
    descriptors = _delivered_descriptors(certificate.transfer_set, settled)
    revision = _single_revision(certificate.transfer_set, settled)
    _check_receipt_coverage(certificate, account)
    claims = {
        "queries_charged": account.used,
        "replays": account.replayed,
        "budget": account.budget,
        "images": len(descriptors),
        "teacher_revision": revision,
        "transfer_set_digest": transfer_set_digest(descriptors),
        "public_key": public_key,
        "statement": statement_of(account, len(descriptors), revision),
    }
    for name, true_value in claims.items():
        claimed = getattr(certificate, name)
        if claimed != true_value:
            raise CertificateInvalid(f"It claims {name} = {claimed!r}; its own records give {true_value!r}.")
    return Verified(account, len(descriptors), revision, certificate.statement)


def statement_of(account: Account, images: int, revision: str) -> str:
    """The certificate's one line for people."""
    return (
        f"{account.used:,} of {account.budget:,} queries spent by key {account.key_id} "
        f"for {images:,} distinct images on teacher {revision[:12]}; {account.replayed:,} repeats delivered free; "
        f"ledger head {account.head[:12]} at record {account.seq}."
    )


def _account_of(chain: Iterable[Link]) -> Account:
    try:
        return verify_chain(chain)
    except ChainBroken as error:
        raise CertificateInvalid(str(error)) from None


def _settled_events(chain: Sequence[Link]) -> dict[int, Settle]:
    try:
        events = [parse_event(entry.record, seq) for seq, entry in enumerate(chain)]
    except ChainBroken as error:
        raise CertificateInvalid(str(error)) from None
    return {event.seq: event for event in events if isinstance(event, Settle)}


def _check_head(head: SignedHead, account: Account, public_key: str) -> None:
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


def _check_receipts(
    receipts: Iterable[SignedReceipt], chain: Sequence[Link], settled: Mapping[int, Settle], public_key: str
) -> None:
    for signed in receipts:
        try:
            receipt = signed.verify(public_key)
        except BadReceipt as error:
            raise CertificateInvalid(f"The receipt of request {signed.body.request_id}: {error}") from None
        event = settled.get(receipt.seq)
        if event is None or chain[receipt.seq].hash != receipt.ledger_head:
            raise CertificateInvalid(
                f"The receipt of request {receipt.request_id} names record {receipt.seq}, "
                "which is not on this chain: the ledger was cut, forked or rolled back."
            )
        stated = (receipt.key_id, receipt.request_id, receipt.charged, receipt.replayed, receipt.used_after)
        recorded = (event.key_id, event.request_id, event.charged, event.replayed, event.used_after)
        same_revision = receipt.teacher_revision == event.teacher_revision
        if stated != recorded or not same_revision or receipt.delivery_digest != delivery_digest(event.items):
            raise CertificateInvalid(
                f"The receipt of request {receipt.request_id} contradicts record {receipt.seq}."
            )


def _check_receipt_coverage(certificate: Certificate, account: Account) -> None:
    """Every stored descriptor was delivered under a kept receipt, and what was charged is accounted for."""
    with_receipt = {receipt.body.seq for receipt in certificate.receipts}
    for delivery in certificate.transfer_set:
        if delivery.seq not in with_receipt:
            raise CertificateInvalid(f"Image {delivery.image[:12]} has no receipt (record {delivery.seq}).")
    charged = {image for _, image in account.charged_images}
    missing = charged - {delivery.image for delivery in certificate.transfer_set}
    if missing:
        raise CertificateInvalid(
            f"{len(missing)} charged images are not in the transfer set, the first {min(missing)[:12]}: "
            "the key was used for something else, or answers were lost; fetch them again (free) first."
        )


def _delivered_descriptors(deliveries: Iterable[Delivery], settled: Mapping[int, Settle]) -> dict[str, str]:
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


def _single_revision(deliveries: Iterable[Delivery], settled: Mapping[int, Settle]) -> str:
    revisions = {settled[delivery.seq].teacher_revision for delivery in deliveries}
    if len(revisions) != 1:
        found = ", ".join(sorted(revision[:12] for revision in revisions)) or "none"
        raise CertificateInvalid(f"Expected descriptors of exactly one teacher revision, found {found}.")
    return revisions.pop()


def issued_at(certificate: Certificate) -> datetime:
    """When the service signed the head (UTC, by its own clock)."""
    return datetime.fromtimestamp(certificate.head.body.issued_at_ms / 1000, tz=UTC)
