"""Compare what was bought with the service's own ledger, and write the budget certificate.

In: a transfer set and, over HTTP, the key's whole chain and signed head; or a certificate alone. Out:
``certificate.json``, or the first thing that does not hold. What is checked of the chain, the receipts and
their places is in :mod:`shared.certificate`; here the stored descriptors themselves are added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.certificate import (
    Certificate,
    CertificateInvalid,
    Verified,
    build_certificate,
    parse_certificate,
    transfer_set_digest,
    verify_certificate,
)
from shared.chain import ChainBroken, Link, Settle, parse_event
from shared.receipts import BadReceipt, SignedHead
from shared.vectors import descriptor_digest
from shared.whole_files import write_whole
from student_trainer.acquire.records import Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import InvalidInput, StorageFailed, VerificationFailed


@dataclass(frozen=True)
class Verification:
    """A certificate that holds, and where the key that it was checked with came from."""

    verified: Verified
    public_key: str
    key_source: str


def audit(transfer_set: TransferSet, links: Sequence[Link], head: SignedHead) -> Certificate:
    """Check a transfer set against the key's ledger.

    Args:
        transfer_set: with at least one descriptor.
        links: the key's records, from its genesis to the head.
        head: the service's signed statement.

    Raises:
        InvalidInput: nothing was bought yet.
        VerificationFailed: the message names what is wrong.
    """
    teacher = transfer_set.teacher
    held = stored_descriptors(transfer_set)
    if teacher is None or not held:
        raise InvalidInput(f"{transfer_set.path} holds no descriptors yet: there is nothing to audit.")
    delivered_by = transfer_set.delivered_by()
    try:
        _check_signer(head, teacher)
        head.verify(teacher.public_key)
        _check_key(head, teacher)
        _check_descriptors(held, delivered_by, links)
        certificate = build_certificate(links, head, transfer_set.receipts(), delivered_by)
        _check_revision(certificate, teacher)
    except (BadReceipt, CertificateInvalid, ChainBroken) as error:
        raise VerificationFailed(f"The audit failed. {error}") from None
    return certificate


def verify(
    certificate: Certificate, public_key: str, key_source: str, transfer_set: TransferSet | None = None
) -> Verification:
    """Check a certificate, and with ``transfer_set`` that this is the one it certifies.

    Raises:
        VerificationFailed: the message names what is wrong.
    """
    try:
        verified = verify_certificate(certificate, public_key)
    except CertificateInvalid as error:
        raise VerificationFailed(f"The certificate does not hold. {error}") from None
    if transfer_set is not None:
        held = stored_descriptors(transfer_set)
        if transfer_set_digest(held) != certificate.transfer_set_digest:
            raise VerificationFailed(
                f"The certificate holds, but not for {transfer_set.path}: it certifies {verified.images:,} "
                f"descriptors, this file holds {len(held):,}, or others."
            )
    return Verification(verified, public_key, key_source)


def stored_descriptors(transfer_set: TransferSet) -> dict[str, str]:
    """Image digest -> digest of the stored descriptor, computed from its bytes."""
    bought = transfer_set.bought()
    return {image: descriptor_digest(row) for image, row in zip(bought.images, bought.vectors, strict=True)}


def write_certificate(certificate: Certificate, path: Path) -> None:
    """Write the document; a reader sees the old one or the new one, never a part.

    Raises:
        StorageFailed: it cannot be written.
    """
    try:
        write_whole(path, certificate.model_dump_json(indent=1), synced=True)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error.strerror}.") from None


def read_certificate(path: Path) -> Certificate:
    """Read the document.

    Raises:
        InvalidInput: the file cannot be read.
        VerificationFailed: it is not a certificate.
    """
    try:
        return parse_certificate(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"The certificate {path} cannot be read: {error.strerror}.") from None
    except CertificateInvalid as error:
        raise VerificationFailed(f"{path}: {error}") from None


def _check_signer(head: SignedHead, teacher: Teacher) -> None:
    if head.public_key != teacher.public_key:
        raise BadReceipt(
            f"This service signs with key {head.public_key[:12]}; what was bought at {teacher.url} was "
            f"signed by {teacher.public_key[:12]}. If it moved without its signing.key, its owner can put "
            "that back; if it is another service, name the first one with --url. What is held stays as it is."
        )


def _check_key(head: SignedHead, teacher: Teacher) -> None:
    if head.body.key_id != teacher.key_id:
        raise InvalidInput(
            f"The ledger is that of API key {head.body.key_id}; the transfer set was bought with "
            f"{teacher.key_id}. Give that key."
        )


def _check_descriptors(
    held: Mapping[str, str], delivered_by: Mapping[str, int], links: Sequence[Link]
) -> None:
    """Every stored descriptor, byte for byte, is what the ledger says was delivered for its image."""
    events = [parse_event(link.record, seq) for seq, link in enumerate(links)]
    delivered = {
        (event.seq, item.image): item.descriptor
        for event in events
        if isinstance(event, Settle)
        for item in event.items
    }
    for image, descriptor in held.items():
        recorded = delivered.get((delivered_by[image], image))
        if recorded is None:
            raise CertificateInvalid(
                f"Record {delivered_by[image]} of the ledger does not deliver image {image[:12]}, as its "
                "stored receipt says: the ledger was cut, forked or rolled back."
            )
        if recorded != descriptor:
            raise CertificateInvalid(
                f"The stored descriptor of image {image[:12]} is not the one that record "
                f"{delivered_by[image]} delivered: the transfer set was changed."
            )


def _check_revision(certificate: Certificate, teacher: Teacher) -> None:
    if certificate.teacher_revision != teacher.revision:
        raise CertificateInvalid(
            f"The descriptors are of teacher {certificate.teacher_revision[:12]}, the transfer set was "
            f"pinned to {teacher.revision[:12]}."
        )
