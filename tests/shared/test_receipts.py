"""Receipts and heads: who signed what, and that not a bit of it can change."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey
from pydantic import ValidationError

from shared.receipts import BadReceipt, SignedHead, SignedReceipt, delivery_digest, from_header, to_header


@pytest.fixture
def receipt(busy_story: Any) -> SignedReceipt:
    signed: SignedReceipt = busy_story.receipts[1]
    return signed


def test_a_receipt_is_valid_under_the_key_that_signed_it(receipt: SignedReceipt, busy_story: Any) -> None:
    assert receipt.verify(busy_story.public_key) == receipt.body
    assert receipt.verify().seq == 3


def test_a_receipt_of_another_service_is_refused(receipt: SignedReceipt) -> None:
    stranger = SigningKey.generate()
    other = bytes(stranger.verify_key).hex()
    with pytest.raises(BadReceipt, match="expected"):
        receipt.verify(other)
    forged = SignedReceipt.by(stranger, receipt.body)
    with pytest.raises(BadReceipt, match="expected"):
        forged.verify(receipt.public_key)
    with pytest.raises(BadReceipt, match="not valid"):
        forged.model_copy(update={"public_key": receipt.public_key}).verify(receipt.public_key)


def test_every_member_of_a_receipt_is_signed(receipt: SignedReceipt) -> None:
    for name, value in receipt.body.model_dump().items():
        if name == "kind":
            continue
        changed = value + 1 if isinstance(value, int) else value[::-1] + ("" if len(value) == 64 else "x")
        body = receipt.body.model_copy(update={name: changed})
        with pytest.raises(BadReceipt):
            receipt.model_copy(update={"body": body}).verify()


def test_a_receipt_never_passes_for_a_head(receipt: SignedReceipt, busy_story: Any) -> None:
    head = busy_story.head()
    with pytest.raises(ValidationError):
        SignedHead.model_validate_json(receipt.model_dump_json())
    with pytest.raises(BadReceipt, match="ration-ledger-head/1"):
        head.model_copy(update={"signature": receipt.signature}).verify()


def test_a_header_carries_the_whole_receipt(receipt: SignedReceipt) -> None:
    value = to_header(receipt)
    assert from_header(value) == receipt
    assert value.isascii() and "\n" not in value
    assert from_header(value).verify() == receipt.body


def test_the_delivery_digest_depends_on_order_and_content_but_not_on_charges(busy_story: Any) -> None:
    from shared.chain import parse_event

    event: Any = parse_event(busy_story.links[3].record, 3)
    items = event.items
    free = [item.model_copy(update={"charged": False}) for item in items]
    other = [items[0].model_copy(update={"descriptor": "0" * 64}), *items[1:]]
    assert delivery_digest(items) == delivery_digest(free)
    assert delivery_digest(items) != delivery_digest(items[::-1])
    assert delivery_digest(items) != delivery_digest(other)
    assert delivery_digest(items) != delivery_digest(items[1:])


@pytest.mark.parametrize(
    "value",
    ["", "receipt", "é", "e30=", base64.urlsafe_b64encode(b"\xff{}").decode(), "e30", "bnVsbA=="],
)
def test_a_header_that_is_not_a_receipt_is_refused(value: str) -> None:
    with pytest.raises(BadReceipt, match="Not a receipt"):
        from_header(value)


@pytest.mark.parametrize("change", [{"charged": 2.0}, {"charged": "2"}, {"seq": -1}, {"extra": 1}])
def test_a_receipt_with_members_of_other_types_is_refused(
    receipt: SignedReceipt, change: dict[str, Any]
) -> None:
    document = json.loads(receipt.model_dump_json())
    document["body"].update(change)
    with pytest.raises(BadReceipt, match="Not a receipt"):
        from_header(base64.urlsafe_b64encode(json.dumps(document).encode()).decode())


def test_characters_outside_base64_are_not_skipped(receipt: SignedReceipt) -> None:
    value = to_header(receipt)
    with pytest.raises(BadReceipt):
        from_header(value[:8] + "!\n" + value[8:])


@settings(max_examples=300)
@given(data=st.data())
def test_no_flipped_bit_of_a_header_passes(data: st.DataObject, signed_header: str) -> None:
    position = data.draw(st.integers(0, len(signed_header) - 1))
    bit = data.draw(st.integers(0, 6))
    raw = bytearray(signed_header.encode())
    raw[position] ^= 1 << bit
    try:
        changed = from_header(raw.decode("latin-1"))
        changed.verify(from_header(signed_header).public_key)
    except BadReceipt:
        return
    # Only the unused bits of the last base64 character may change without a trace.
    assert changed == from_header(signed_header)


@pytest.fixture(scope="module")
def signed_header() -> str:
    from shared.receipts import Receipt

    body = Receipt(
        key_id="k",
        request_id="r",
        seq=1,
        charged=1,
        replayed=0,
        used_after=1,
        budget=2,
        ledger_head="1" * 64,
        teacher_revision="2" * 64,
        delivery_digest="3" * 64,
        issued_at_ms=4,
    )
    return to_header(SignedReceipt.by(SigningKey(bytes(32)), body))
