"""A ledger with a history, and what its clients took home: the victim of the tampering tests.

In: how many keys and requests, and a seed. Out: the export, and for each key its receipts and deliveries;
and the two verdicts on what a forger made of it.
"""

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.certificate import CertificateInvalid, build_certificate
from shared.chain import Link, verify_chain
from shared.digest import sha256_hex
from shared.receipts import SignedReceipt
from teacher_service.access.keys import mint
from teacher_service.metering.archive import Archive, LedgerInvalid
from teacher_service.metering.auditing.exporting import export_ledger
from teacher_service.metering.auditing.verify import verify_export
from teacher_service.metering.ledger import Head, Reservation
from teacher_service.metering.signing import ReceiptSigner
from teacher_service.metering.sqlite.store import SqliteLedger

BUDGET = 100_000
REVISION = sha256_hex(b"teacher")


@dataclass
class Drawer:
    """What one client keeps."""

    receipts: list[SignedReceipt] = field(default_factory=list)
    delivered_by: dict[str, int] = field(default_factory=dict)
    """Image digest -> sequence number of the record that delivered it first."""


@dataclass
class Books:
    """An export and everything that exists beside it."""

    export: bytes
    signer: ReceiptSigner
    drawers: dict[str, Drawer]
    """By key id."""


async def keep_books(folder: Path, chance: random.Random, *, keys: int, requests: int) -> Books:
    """Trade for a while: purchases, replays, now and then a grant."""
    ledger, signer = SqliteLedger(folder / "ledger.sqlite"), ReceiptSigner.load_or_create(folder)
    await ledger.open()
    try:
        drawers: dict[str, Drawer] = {}
        for number in range(keys):
            _, new = mint(f"student {number}", BUDGET)
            await ledger.create_key(new)
            drawers[new.key_id] = Drawer()
        for number in range(requests):
            key_id = chance.choice(sorted(drawers))
            await _buy(ledger, signer, key_id, drawers[key_id], f"request-{number}", chance)
            if chance.random() < 0.05:
                await ledger.grant(key_id, chance.randint(1, 10))
        out = io.BytesIO()
        await export_ledger(ledger, out)
    finally:
        await ledger.close()
    return Books(out.getvalue(), signer, drawers)


async def _buy(
    ledger: Archive,
    signer: ReceiptSigner,
    key_id: str,
    drawer: Drawer,
    request_id: str,
    chance: random.Random,
) -> None:
    """One to three new images, and sometimes an old one."""
    images = [sha256_hex(chance.randbytes(8)) for _ in range(chance.randint(1, 3))]
    if drawer.delivered_by and chance.random() < 0.5:
        images.append(chance.choice(sorted(drawer.delivered_by)))
    hold = await ledger.reserve(Reservation(key_id, request_id, REVISION, tuple(images)))
    descriptors = {image: sha256_hex(f"descriptor of {image}".encode()) for image in images}
    settlement = await ledger.settle(hold, descriptors)
    drawer.receipts.append(signer.receipt(settlement, REVISION))
    for image in images:
        drawer.delivered_by.setdefault(image, settlement.seq)


def holds(data: bytes) -> bool:
    """What ``ledger verify`` says of an export."""
    try:
        verify_export(io.BytesIO(data))
    except LedgerInvalid:
        return False
    return True


def audit_holds(books: Books, links: Sequence[Link], drawer: Drawer) -> bool:
    """What a client's audit says of a chain, whose end the service signs as it finds it."""
    account = verify_chain(links)
    head = Head(account.key_id, account.seq, account.head, account.used, account.budget)
    signed = books.signer.head(head, REVISION, at_ms=links[-1].record["at_ms"])
    try:
        build_certificate(links, signed, drawer.receipts, drawer.delivered_by)
    except CertificateInvalid:
        return False
    return True
