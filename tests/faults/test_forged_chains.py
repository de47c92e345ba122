"""A ledger that was changed, and whose chains were hashed anew so that it agrees with itself.

The third forger can write to the ledger of a service, numbers, sums and hashes included. Nobody finds his
work from the ledger alone. A client's audit finds it, even though the service, deceived, signs the forged
head: a receipt names the hash of its record, and no forger can take it back.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from faults.books import REVISION, Books, Drawer, audit_holds, holds
from faults.conftest import Tallying
from faults.effort import Effort
from faults.forging import Document, chained_anew

from shared.certificate import CertificateInvalid, build_certificate
from shared.digest import sha256_hex
from shared.receipts import SignedReceipt
from teacher_service.metering.ledger import Head

Record = Mapping[str, Any]


def without_record(records: Sequence[Record], place: int, chance: random.Random) -> list[Record]:
    """As if it had never happened; what it charged is now charged by its replays, if there were any."""
    left = [*records[:place], *records[place + 1 :]]
    return as_first_come(left)


def as_first_come(records: Sequence[Record]) -> list[Record]:
    """Charge every image at its first appearance, as an honest ledger would."""
    paid: set[str] = set()
    honest: list[Record] = []
    for record in records:
        if record["kind"] != "settle":
            honest.append(record)
            continue
        items = [{**item, "charged": item["image"] not in paid} for item in record["items"]]
        paid |= {item["image"] for item in items}
        honest.append({**record, "items": items})
    return honest


def with_other_image(records: Sequence[Record], place: int, chance: random.Random) -> list[Record]:
    """One image exchanged, everywhere, for one that was never bought."""
    old, new = records[place]["items"][0]["image"], sha256_hex(chance.randbytes(8))
    return [
        {
            **record,
            "items": [{**i, "image": new if i["image"] == old else i["image"]} for i in record["items"]],
        }
        if record["kind"] == "settle"
        else record
        for record in records
    ]


def with_other_descriptor(records: Sequence[Record], place: int, chance: random.Random) -> list[Record]:
    """Another descriptor is said to have been delivered."""
    first, *others = records[place]["items"]
    item = {**first, "descriptor": sha256_hex(chance.randbytes(8))}
    return [*records[:place], {**records[place], "items": [item, *others]}, *records[place + 1 :]]


def at_another_time(records: Sequence[Record], place: int, chance: random.Random) -> list[Record]:
    return [
        *records[:place],
        {**records[place], "at_ms": records[place]["at_ms"] + 1},
        *records[place + 1 :],
    ]


def with_the_next_before_it(records: Sequence[Record], place: int, chance: random.Random) -> list[Record]:
    order = list(records)
    order[place - 1 : place + 1] = order[place - 1 : place + 1][::-1] if place > 1 else order[:2]
    return as_first_come(order)


def rolled_back(records: Sequence[Record], place: int, chance: random.Random) -> list[Record]:
    """To the state just before the record: a restored snapshot."""
    return list(records[:place])


def forked(records: Sequence[Record], place: int, chance: random.Random) -> list[Record]:
    """Another history from the record on, as long as the true one."""
    return [
        *records[:place],
        *(
            with_new_images(record, chance) if record["kind"] == "settle" else record
            for record in records[place:]
        ),
    ]


def with_new_images(record: Record, chance: random.Random) -> Record:
    items = [{**item, "image": sha256_hex(chance.randbytes(8)), "charged": True} for item in record["items"]]
    return {**record, "items": items}


def with_a_larger_budget(records: Sequence[Record], place: int, chance: random.Random) -> list[Record]:
    return [{**records[0], "budget": records[0]["budget"] + 1}, *records[1:]]


Forgery = Callable[[Sequence[Record], int, random.Random], list[Record]]
FORGERIES: tuple[Forgery, ...] = (
    without_record,
    with_other_image,
    with_other_descriptor,
    at_another_time,
    with_the_next_before_it,
    rolled_back,
    forked,
    with_a_larger_budget,
)


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_a_ledger_hashed_anew_after_a_change_agrees_with_itself_and_is_found_by_its_clients_audit(
    forgery: Forgery, large: Books, effort: Effort, tallying: Tallying
) -> None:
    """The third forger, at each settled record of each key."""
    document, chance = Document.of(large.export), effort.chance(forgery.__name__)
    with tallying(f"hashed anew: {forgery.__name__.replace('_', ' ')}", "export") as tally:
        for key_id, drawer in large.drawers.items():
            records = document.records(key_id)
            for place, record in enumerate(records):
                changed = forgery(records, place, chance) if record["kind"] == "settle" else records
                if changed == records:
                    continue
                tally.faults += 1
                links = chained_anew(changed)
                if audit_holds(large, links, drawer):
                    tally.other.append(f"{key_id} at record {place}: not found")
            # The premise: the ledger as such is beyond reproach, so only a receipt can tell.
            assert holds(document.with_chain(key_id, links).sealed())
        assert tally.faults > 100


def test_a_receipt_is_found_missing_by_whoever_holds_only_that_one(large: Books) -> None:
    """Who kept one receipt that is later than a roll-back still finds it."""
    document = Document.of(large.export)
    for key_id, drawer in large.drawers.items():
        records = document.records(key_id)
        last: SignedReceipt = drawer.receipts[-1]
        only = {image: seq for image, seq in drawer.delivered_by.items() if seq == last.body.seq}
        for place in range(1, last.body.seq + 1):
            links = chained_anew(records[:place])
            assert not audit_holds(large, links, Drawer([last], only))


def test_a_key_that_vanished_from_an_export_is_found_by_its_client(large: Books) -> None:
    """Its chain is gone: there is nothing that its receipts could lie on."""
    document = Document.of(large.export)
    for key_id in document.key_ids:
        lines = tuple(
            line
            for line in document.lines
            if key_id not in (line.get("key_id"), line.get("record", {}).get("key_id"))
        )
        forged = Document(lines)
        assert holds(forged.sealed())
        drawer = large.drawers[key_id]
        head = large.signer.head(Head(key_id, 0, "0" * 64, 0, 0), REVISION, at_ms=0)
        with pytest.raises(CertificateInvalid, match="is missing"):
            build_certificate([], head, drawer.receipts, drawer.delivered_by)
