"""The budget certificate: what a distillation spent, checkable by a third person without the service.

In: a key's whole chain, its signed head, the receipts that the client kept, and which image was
delivered by which record. Out: a JSON document, and the findings of checking one. No I/O.

It proves, given the service's public key: how many queries the key was charged up to the signed head,
under whatever teacher revision; that no image was charged twice (billing ``distinct``); that every
descriptor of the transfer set was delivered by a record of that chain, under a kept receipt; that one
teacher revision gave them all; and that the transfer set leaves out no image charged under it.
It cannot prove that the student learned from nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.budgets import budget_text
from shared.certificate_checks import (
    CertificateInvalid,
    Delivery,
    check_coverage,
    check_head,
    check_receipts,
    delivered_descriptors,
    read_chain,
    single_revision,
)
from shared.chain import Account, Count, Link, Sha256Hex, Window
from shared.digest import digest_of_list, parse_canonical
from shared.receipts import SignedHead, SignedReceipt

__all__ = [
    "Certificate",
    "CertificateInvalid",
    "ChainLink",
    "Delivery",
    "Verified",
    "build_certificate",
    "issued_at",
    "parse_certificate",
    "statement_of",
    "transfer_set_digest",
    "verify_certificate",
]


class ChainLink(BaseModel):
    """One ledger record in the document."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    record: dict[str, Any]
    hash: Sha256Hex


class Certificate(BaseModel):
    """The document ``certificate.json``. The claims are recomputed by :func:`verify_certificate`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["ration-certificate/1"] = "ration-certificate/1"
    statement: str
    """One line for people; derived from the claims, not trusted."""
    queries_charged: Count
    replays: Count
    budget: Count
    """Queries in all, or for each window."""
    window: Window = "total"
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
    read = read_chain(chain)
    account = read.account
    descriptors = delivered_descriptors(deliveries, read.settled)
    revision = single_revision(deliveries, read.settled)
    certificate = Certificate(
        statement=statement_of(account, len(deliveries), revision),
        queries_charged=account.used,
        replays=account.replayed,
        budget=account.budget,
        window=account.window,
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
        CertificateInvalid: not JSON with one meaning, or not a certificate.
    """
    try:
        parse_canonical(data)
        return Certificate.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise CertificateInvalid(f"Not a certificate: {where}: {first['msg']}.") from None
    except ValueError as error:
        raise CertificateInvalid(f"Not a certificate: {error}.") from None


def verify_certificate(certificate: Certificate, public_key: str) -> Verified:
    """Check every signature, the chain, the receipts' places on it, and the claims.

    Args:
        certificate: the document.
        public_key: the service's Ed25519 key in hexadecimal, learned from the service itself.

    Raises:
        CertificateInvalid: names the first thing that is wrong.
    """
    chain = read_chain([Link(entry.record, entry.hash) for entry in certificate.chain])
    account = chain.account
    check_head(certificate.head, account, public_key)
    check_receipts(certificate.receipts, chain, public_key)
    descriptors = delivered_descriptors(certificate.transfer_set, chain.settled)
    revision = single_revision(certificate.transfer_set, chain.settled)
    check_coverage(certificate.transfer_set, certificate.receipts, account, revision)
    claims = {
        "queries_charged": account.used,
        "replays": account.replayed,
        "budget": account.budget,
        "window": account.window,
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
    elsewhere = sum(charged_revision != revision for charged_revision, _ in account.charged_images)
    note = f" and {elsewhere:,} on other revisions" if elsewhere else ""
    budget = budget_text(account.budget, account.window)
    spent = (
        f"{account.used:,} of {budget} queries spent by key {account.key_id}"
        if account.window == "total"
        else f"{account.used:,} queries spent by key {account.key_id} (budget {budget})"
    )
    return (
        f"{spent} for {images:,} distinct images on teacher {revision[:12]}{note}; "
        f"{account.replayed:,} repeats delivered free; "
        f"ledger head {account.head[:12]} at record {account.seq}."
    )


def issued_at(certificate: Certificate) -> datetime:
    """When the service signed the head (UTC, by its own clock)."""
    return datetime.fromtimestamp(certificate.head.body.issued_at_ms / 1000, tz=UTC)
