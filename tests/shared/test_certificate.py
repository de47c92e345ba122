"""A budget certificate holds for honest records, and for nothing else."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from nacl.signing import SigningKey

from shared.certificate import (
    Certificate,
    CertificateInvalid,
    build_certificate,
    issued_at,
    parse_certificate,
    transfer_set_digest,
    verify_certificate,
)
from shared.chain import ZERO_HASH, Link, canonical_record, chain_hash, parse_event
from shared.receipts import SignedReceipt


def seqs_of(story: Any, revision: str | None = None) -> dict[str, int]:
    """image -> the record that first delivered it (under one revision)."""
    delivered: dict[str, int] = {}
    for seq, entry in enumerate(story.links):
        event: Any = parse_event(entry.record, seq)
        if event.kind == "settle" and revision in {None, event.teacher_revision}:
            for item in event.items:
                delivered.setdefault(item.image, seq)
    return delivered


def certificate_of(story: Any, **parts: Any) -> Certificate:
    given = {
        "chain": story.links,
        "head": story.head(),
        "receipts": story.receipts,
        "delivered_by": seqs_of(story),
    }
    return build_certificate(**{**given, **parts})


def refused(certificate: Certificate, public_key: str) -> str:
    with pytest.raises(CertificateInvalid) as caught:
        verify_certificate(certificate, public_key)
    return str(caught.value)


def edited(certificate: Certificate, *path: str | int, to: object) -> Certificate:
    document = json.loads(certificate.model_dump_json())
    holder: Any = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = to
    return parse_certificate(json.dumps(document).encode())


def test_a_certificate_states_what_its_records_add_up_to(busy_story: Any) -> None:
    certificate = certificate_of(busy_story)
    verified = verify_certificate(certificate, busy_story.public_key)
    assert (verified.account.used, verified.account.budget, verified.images) == (4, 5, 4)
    assert (certificate.queries_charged, certificate.replays) == (4, 2)
    assert verified.statement.startswith("4 of 5 queries spent by key 3f2a for 4 distinct images on teacher ")
    assert issued_at(certificate) == datetime.fromtimestamp(0.099, tz=UTC)


def test_a_certificate_of_a_budget_by_the_day_states_what_each_day_allowed(story: Callable[..., Any]) -> None:
    days = story(budget=50, window="day", now_ms=0)
    for day, count in enumerate((50, 50, 20)):
        days.now_ms = day * 86_400_000
        days.settle([f"{day} {number}" for number in range(count)])
    certificate = certificate_of(days)
    verified = verify_certificate(parse_certificate(certificate.model_dump_json().encode()), days.public_key)
    assert (certificate.queries_charged, certificate.budget, certificate.window) == (120, 50, "day")
    assert verified.statement.startswith(
        "120 queries spent by key 3f2a (budget 50/day) for 120 distinct images on teacher "
    )


def test_a_budget_by_the_day_cannot_be_claimed_to_be_one_in_total(story: Callable[..., Any]) -> None:
    days = story(budget=1, window="day", now_ms=0)
    days.settle(["a"])
    false = edited(certificate_of(days), "window", to="total")
    assert "It claims window = 'total'; its own records give 'day'" in refused(false, days.public_key)


def test_a_certificate_from_before_there_were_windows_still_verifies(busy_story: Any) -> None:
    """Neither its document nor its genesis names a window: both mean a budget in total."""
    old = without_windows(busy_story)
    document = json.loads(certificate_of(old).model_dump_json())
    assert "window" not in document["chain"][0]["record"]
    del document["window"]
    certificate = parse_certificate(json.dumps(document).encode())
    verified = verify_certificate(certificate, old.public_key)
    assert verified.account.window == "total"
    assert verified.statement.startswith("4 of 5 queries spent by key 3f2a")


def without_windows(story: Any) -> Any:
    """The same story as a service without windows would have chained and signed it."""
    records = [dict(entry.record) for entry in story.links]
    del records[0]["window"]
    links: list[Link] = []
    for record in records:
        previous = links[-1].hash if links else ZERO_HASH
        links.append(Link(record, chain_hash(previous, canonical_record(record))))
    receipts = [
        SignedReceipt.by(
            story.signing_key,
            signed.body.model_copy(update={"ledger_head": links[signed.body.seq].hash}),
        )
        for signed in story.receipts
    ]
    story.links, story.receipts = links, receipts
    return story


def test_a_certificate_survives_being_written_and_read(busy_story: Any) -> None:
    certificate = certificate_of(busy_story)
    for text in (certificate.model_dump_json(), certificate.model_dump_json(indent=2)):
        assert parse_certificate(text.encode()) == certificate


def test_a_descriptor_delivered_again_by_a_replay_may_stand_in_for_the_first(busy_story: Any) -> None:
    again = {**seqs_of(busy_story), busy_story.links[4].record["items"][0]["image"]: 4}
    assert certificate_of(busy_story, delivered_by=again).images == 4


def test_every_call_billing_is_certified_with_all_that_it_cost(story: Callable[..., Any]) -> None:
    calls = story(billing="every-call")
    calls.settle(["a"])
    calls.settle(["a", "b"])
    certificate = certificate_of(calls)
    assert (certificate.queries_charged, certificate.images) == (3, 2)


def test_the_service_key_must_be_the_one_that_was_learned_from_the_service(busy_story: Any) -> None:
    other = bytes(SigningKey.generate().verify_key).hex()
    assert "ledger head" in refused(certificate_of(busy_story), other)


def test_a_self_made_certificate_is_refused_under_the_service_key(
    busy_story: Any, story: Callable[..., Any]
) -> None:
    forger = story(signing_key=SigningKey.generate())
    forger.settle(["a"])
    assert "Signed by" in refused(certificate_of(forger), busy_story.public_key)


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("queries_charged", 3),
        ("replays", 0),
        ("budget", 6),
        ("images", 5),
        ("teacher_revision", "0" * 64),
        ("transfer_set_digest", "0" * 64),
        ("public_key", "0" * 64),
        ("statement", "1 of 5 queries spent"),
    ],
)
def test_a_claim_that_its_records_do_not_bear_out_is_named(busy_story: Any, claim: str, value: Any) -> None:
    false = edited(certificate_of(busy_story), claim, to=value)
    assert f"It claims {claim} = {value!r}" in refused(false, busy_story.public_key)


def test_an_edited_record_is_named(busy_story: Any) -> None:
    false = edited(certificate_of(busy_story), "chain", 3, "record", "at_ms", to=7)
    assert "Ledger record 3: its hash does not follow" in refused(false, busy_story.public_key)


def test_a_cut_tail_contradicts_the_signed_head(busy_story: Any) -> None:
    certificate = certificate_of(busy_story)
    cut = certificate.model_copy(update={"chain": certificate.chain[:-1]})
    assert "signed head is record 4" in refused(cut, busy_story.public_key)


def test_a_rolled_back_ledger_contradicts_a_receipt(busy_story: Any, story: Callable[..., Any]) -> None:
    """The service signs a shorter chain; the client's receipts know better."""
    rolled_back = story(budget=3)
    rolled_back.settle(["a", "b"])
    with pytest.raises(CertificateInvalid, match="names record 3, which is not on this chain"):
        certificate_of(rolled_back, receipts=busy_story.receipts)


def test_a_forked_ledger_contradicts_a_receipt(story: Callable[..., Any]) -> None:
    shown, kept = story(), story()
    for each, second in ((shown, "b"), (kept, "c")):
        each.settle(["a"])
        each.settle([second])
    with pytest.raises(CertificateInvalid, match="cut, forked or rolled back"):
        certificate_of(shown, receipts=kept.receipts)


def test_a_signed_head_of_another_moment_or_key_is_refused(busy_story: Any) -> None:
    for change in ({"used": 3}, {"budget": 9}, {"key_id": "other"}, {"seq": 3}, {"ledger_head": "0" * 64}):
        with pytest.raises(CertificateInvalid, match="signed head"):
            certificate_of(busy_story, head=busy_story.head(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"charged": 1},
        {"replayed": 0},
        {"used_after": 3},
        {"budget": 3},
        {"request_id": "another"},
        {"key_id": "another"},
        {"teacher_revision": "0" * 64},
        {"delivery_digest": "0" * 64},
    ],
)
def test_a_receipt_that_contradicts_its_record_is_refused(busy_story: Any, change: dict[str, Any]) -> None:
    """Even when the service signed it: then the service contradicts itself."""
    from shared.receipts import SignedReceipt

    body = busy_story.receipts[1].body.model_copy(update=change)
    false = SignedReceipt.by(busy_story.signing_key, body)
    receipts = [busy_story.receipts[0], false, busy_story.receipts[2]]
    with pytest.raises(CertificateInvalid, match="contradicts record 3"):
        certificate_of(busy_story, receipts=receipts)


def test_the_budget_of_a_receipt_is_the_one_of_its_time(story: Callable[..., Any]) -> None:
    granted = story(budget=1)
    granted.settle(["a"])
    granted.grant(4)
    granted.settle(["b"])
    assert [receipt.body.budget for receipt in granted.receipts] == [1, 5]
    assert certificate_of(granted).budget == 5


def test_a_receipt_with_a_broken_signature_is_named(busy_story: Any) -> None:
    certificate = certificate_of(busy_story)
    false = edited(certificate, "receipts", 0, "signature", to="0" * 128)
    assert "The receipt of request request 1" in refused(false, busy_story.public_key)


def test_a_stored_image_without_a_receipt_is_refused(busy_story: Any) -> None:
    with pytest.raises(CertificateInvalid, match=r"has no receipt \(record 3\)"):
        certificate_of(busy_story, receipts=[busy_story.receipts[0], busy_story.receipts[2]])


def test_a_charged_image_that_is_not_in_the_transfer_set_is_found(busy_story: Any) -> None:
    delivered = seqs_of(busy_story)
    dropped = min(delivered)
    del delivered[dropped]
    with pytest.raises(CertificateInvalid, match=f"1 charged images are not .* first {dropped[:12]}"):
        certificate_of(busy_story, delivered_by=delivered)


def test_an_image_that_no_record_delivered_is_refused(busy_story: Any) -> None:
    with pytest.raises(CertificateInvalid, match="Record 1 did not deliver image 000000000000"):
        certificate_of(busy_story, delivered_by={**seqs_of(busy_story), "0" * 64: 1})
    for seq in (0, 2, 9):  # genesis, grant, beyond the end
        with pytest.raises(CertificateInvalid, match=f"record {seq} settles nothing"):
            certificate_of(busy_story, delivered_by={**seqs_of(busy_story), "0" * 64: seq})


def test_an_image_listed_twice_is_refused(busy_story: Any) -> None:
    certificate = certificate_of(busy_story)
    twice = certificate.model_copy(
        update={"transfer_set": (*certificate.transfer_set, certificate.transfer_set[0])}
    )
    assert "is listed twice" in refused(twice, busy_story.public_key)


def test_descriptors_of_two_revisions_are_never_certified_together(story: Callable[..., Any]) -> None:
    mixed = story()
    mixed.settle(["a"])
    mixed.settle(["b"], revision="1" * 64)
    with pytest.raises(CertificateInvalid, match="exactly one teacher revision, found"):
        certificate_of(mixed)


def test_an_empty_transfer_set_is_not_certified(story: Callable[..., Any]) -> None:
    with pytest.raises(CertificateInvalid, match="exactly one teacher revision, found none"):
        certificate_of(story())


def test_what_was_bought_of_an_earlier_revision_counts_and_is_said(story: Callable[..., Any]) -> None:
    """The teacher changed during the fetch; the images were bought anew, which cost again."""
    changed = story()
    changed.settle(["a", "x"], revision="1" * 64)
    changed.settle(["a", "b"])
    current = changed.links[2].record["teacher_revision"]
    certificate = certificate_of(changed, delivered_by=seqs_of(changed, current))
    assert (certificate.queries_charged, certificate.images) == (4, 2)
    assert "4 of 10 queries spent" in certificate.statement
    assert "and 2 on other revisions" in certificate.statement


def test_an_image_charged_under_the_revision_is_not_excused_by_another_revision(
    story: Callable[..., Any],
) -> None:
    hidden = story()
    hidden.settle(["a", "b"])
    hidden.settle(["b"], revision="1" * 64)
    delivered = seqs_of(hidden)
    old_b = hidden.links[2].record["items"][0]["image"]
    with pytest.raises(CertificateInvalid, match="exactly one teacher revision"):
        certificate_of(hidden, delivered_by={**delivered, old_b: 2})
    del delivered[old_b]
    with pytest.raises(CertificateInvalid, match="1 charged images are not in the transfer set"):
        certificate_of(hidden, delivered_by=delivered)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Not a certificate"),
        (b"\xff\xfe{}", "Not a certificate"),
        (b"[]", "Not a certificate"),
        (b"{}", "Field required"),
        (b'{"images": 1, "images": 2}', "names a member twice: 'images'"),
        (b'{"images": 1.5}', "whole numbers"),
        (b'{"images": NaN}', "whole numbers"),
        (b"[" * 100_000, "Not a certificate"),
    ],
)
def test_what_is_no_certificate_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(CertificateInvalid, match=reason):
        parse_certificate(data)


@pytest.mark.parametrize("claim", ["images", "queries_charged"])
@pytest.mark.parametrize("value", ["4", True, None, -4])
def test_numbers_must_be_numbers(busy_story: Any, claim: str, value: Any) -> None:
    with pytest.raises(CertificateInvalid, match=f"Not a certificate: {claim}"):
        edited(certificate_of(busy_story), claim, to=value)


def test_a_member_named_twice_is_refused_even_deep_inside(busy_story: Any) -> None:
    """Another reader might take the first of the two, which no hash covers."""
    text = certificate_of(busy_story).model_dump_json()
    doubled = text.replace('"budget_after":5', '"budget_after":500,"budget_after":5', 1)
    assert doubled != text
    with pytest.raises(CertificateInvalid, match="names a member twice: 'budget_after'"):
        parse_certificate(doubled.encode())


def test_every_byte_counts(story: Callable[..., Any]) -> None:
    """Each byte of a small certificate is flipped in three ways: found, or nothing of the content changed."""
    small = story(budget=2)
    small.settle(["a"])
    certificate = certificate_of(small)
    data = certificate.model_dump_json().encode()
    for position in range(len(data)):
        for mask in (0x01, 0x10, 0x80):
            flipped = bytearray(data)
            flipped[position] ^= mask
            try:
                read = parse_certificate(bytes(flipped))
                verify_certificate(read, small.public_key)
            except CertificateInvalid:
                continue
            assert read == certificate, (position, mask)


def test_the_transfer_set_digest_does_not_depend_on_the_order() -> None:
    one = {"a" * 64: "1" * 64, "b" * 64: "2" * 64}
    assert transfer_set_digest(one) == transfer_set_digest(dict(reversed(one.items())))
    assert transfer_set_digest(one) != transfer_set_digest({"a" * 64: "2" * 64, "b" * 64: "1" * 64})
