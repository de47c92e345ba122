"""The reckoning itself: it finds each kind of violation, or the fault tests would show nothing.

A real ledger, and clients' accounts that were made not to agree with it.
"""

import asyncio
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.accounts import reckon
from faults.tally import Tally, as_markdown, as_text

from shared.digest import sha256_hex
from shared.receipts import Receipt
from teacher_service.access.keys import mint
from teacher_service.metering.ledger import Reservation
from teacher_service.metering.signing import ReceiptSigner
from teacher_service.metering.sqlite.store import SqliteLedger

REVISION = sha256_hex(b"teacher")
IMAGES = [sha256_hex(bytes([number])) for number in range(3)]
DESCRIPTORS = {image: sha256_hex(image.encode()) for image in IMAGES}


@dataclass
class Affairs:
    """A ledger on which one key bought three images, and the receipts of that."""

    url: str
    key_id: str
    receipts: list[Receipt]

    def reckon(self, delivered: dict[str, str], receipts: list[Receipt], wanted: list[str]) -> Tally:
        tally = Tally("reckoning", "sqlite", seed=0)
        held = {image: {descriptor} for image, descriptor in delivered.items()}
        facts = {"delivered": held, "receipts": receipts, "wanted": wanted, "lease_ms": 50}
        reckon(self.url, self.key_id, tally, **facts)  # type: ignore[arg-type]
        return tally


@pytest.fixture
def trade(tmp_path: Path) -> Callable[..., Affairs]:
    """``trade(billing, times)``: a key buys each image that often."""

    def make(billing: str = "distinct", times: int = 1) -> Affairs:
        _, new = mint("student", 10, billing=billing)  # type: ignore[arg-type]
        signer = ReceiptSigner.load_or_create(tmp_path)

        async def buy() -> list[Receipt]:
            ledger = SqliteLedger(tmp_path / "ledger.sqlite")
            await ledger.open()
            await ledger.create_key(new)
            receipts = []
            for number, image in enumerate(IMAGES * times):
                hold = await ledger.reserve(Reservation(new.key_id, f"r{number}", REVISION, (image,)))
                settlement = await ledger.settle(hold, DESCRIPTORS)
                receipts.append(signer.receipt(settlement, REVISION).body)
            await ledger.close()
            return receipts

        receipts = asyncio.run(buy())
        return Affairs(f"sqlite:///{tmp_path / 'ledger.sqlite'}", new.key_id, receipts)

    return make


def test_accounts_that_agree_are_clean(trade: Callable[..., Affairs]) -> None:
    affairs = trade()
    tally = affairs.reckon(DESCRIPTORS, affairs.receipts, IMAGES)
    tally.check()
    assert tally.violations == (0, 0, 0, 0)


def test_a_descriptor_that_was_never_charged_is_counted(trade: Callable[..., Affairs]) -> None:
    affairs, stolen = trade(), sha256_hex(b"stolen")
    tally = affairs.reckon({**DESCRIPTORS, stolen: sha256_hex(b"x")}, affairs.receipts, IMAGES)
    assert tally.delivered_uncharged == 2  # neither the descriptor nor the image is on the chain
    with pytest.raises(AssertionError, match="delivered_uncharged=2"):
        tally.check()


def test_another_descriptor_than_the_charged_one_is_counted(trade: Callable[..., Affairs]) -> None:
    affairs = trade()
    tally = affairs.reckon({**DESCRIPTORS, IMAGES[0]: sha256_hex(b"x")}, affairs.receipts, IMAGES)
    assert tally.violations == (0, 0, 1, 0)


def test_a_charge_that_was_never_delivered_is_counted(trade: Callable[..., Affairs]) -> None:
    affairs = trade()
    held = {image: DESCRIPTORS[image] for image in IMAGES[1:]}
    assert affairs.reckon(held, affairs.receipts, IMAGES).violations == (0, 0, 0, 1)


def test_a_second_charge_for_an_image_is_counted(trade: Callable[..., Affairs]) -> None:
    affairs = trade(billing="every-call", times=2)
    assert affairs.reckon(DESCRIPTORS, affairs.receipts, IMAGES).charged_twice == len(IMAGES)


def test_a_receipt_that_is_not_on_the_chain_counts_as_a_delivery_whose_charge_was_lost(
    trade: Callable[..., Affairs],
) -> None:
    affairs = trade()
    forked = affairs.receipts[-1].model_copy(update={"ledger_head": "0" * 64})
    later = affairs.receipts[-1].model_copy(update={"seq": 99})
    for receipt in (forked, later):
        tally = affairs.reckon(DESCRIPTORS, [*affairs.receipts, receipt], IMAGES)
        assert tally.violations == (0, 0, 1, 0)
        with pytest.raises(AssertionError, match="is not on the chain"):
            tally.check()


def test_an_image_that_was_wanted_and_never_bought_is_told(trade: Callable[..., Affairs]) -> None:
    affairs = trade()
    tally = affairs.reckon(DESCRIPTORS, affairs.receipts, [*IMAGES, sha256_hex(b"forgotten")])
    assert tally.other == ["distinct images charged: 0 too many, expected 1 more"]


def test_a_hold_that_nobody_ends_is_told(trade: Callable[..., Affairs], tmp_path: Path) -> None:
    affairs = trade()

    async def hold_and_die() -> None:
        ledger = SqliteLedger(tmp_path / "ledger.sqlite")  # its lease is ten minutes
        await ledger.open()
        await ledger.reserve(Reservation(affairs.key_id, "held", REVISION, (sha256_hex(b"new"),)))
        await ledger.close()

    asyncio.run(hold_and_die())
    tally = affairs.reckon(DESCRIPTORS, affairs.receipts, IMAGES)
    assert tally.other == ["held: 1, expected 0"]


def test_a_ledger_that_was_changed_is_told(trade: Callable[..., Affairs], tmp_path: Path) -> None:
    affairs = trade()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("UPDATE keys SET used = used - 1, used_in_window = used_in_window - 1")
    db.close()
    tally = affairs.reckon(DESCRIPTORS, affairs.receipts, IMAGES)
    assert [line.split(":")[0] for line in tally.other] == ["verify_store", "used"]


def test_the_table_holds_every_count_as_text_and_as_markdown() -> None:
    tally = Tally("a scenario", "sqlite", seed=7, faults=1000, requests=2, answers=3, seconds=1.25)
    text, markdown = as_text([tally]), as_markdown([tally])
    assert re.split(r" {2,}", text.splitlines()[1]) == list(tally.row())
    assert markdown.splitlines()[2] == "| a scenario | sqlite | 1,000 | 2 | 3 | 0 | 0 | 0 | 0 | 0 | 1.2 | 7 |"
