"""A ledger that was changed and does not agree with itself any more: ``ledger verify`` finds every change.

Two forgers with write access to an export. The first changes bytes: the last line holds the digest of all
others. The second also makes the last line fit: records are chained, and keys sum them up. The third, who
also hashes the chains anew, is met in ``test_forged_chains.py``.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any

from faults.books import Books, audit_holds, holds
from faults.conftest import Tallying
from faults.effort import Effort
from faults.forging import Document, chained_anew

STEP = {False: 4, True: 1}
"""By whether the run is long: which records are attacked, every fourth or all."""


def test_the_untouched_ledger_holds_and_passes_every_clients_audit(small: Books, large: Books) -> None:
    for books in (small, large):
        document = Document.of(books.export)
        assert holds(books.export)
        assert document.sealed() == books.export
        for key_id, drawer in books.drawers.items():
            assert audit_holds(books, chained_anew(document.records(key_id)), drawer)


def test_every_byte_flipped_dropped_or_doubled_is_found(
    small: Books, effort: Effort, tallying: Tallying
) -> None:
    """The first forger. In the long run, each bit of each byte by itself as well."""
    data, chance = small.export, effort.chance("bytes")
    with tallying("each byte of an export changed", "export") as tally:
        for place, byte in enumerate(data):
            masks = [chance.randint(1, 255), *(1 << bit for bit in range(8) if effort.is_long)]
            changes = [*(bytes([byte ^ mask]) for mask in masks), b"", bytes([byte, byte])]
            for change in changes:
                tally.faults += 1
                if holds(data[:place] + change + data[place + 1 :]):
                    tally.other.append(f"byte {place}: {byte:#04x} -> {change!r} was not found")


def test_an_export_cut_anywhere_is_found(small: Books) -> None:
    assert not [length for length in range(len(small.export)) if holds(small.export[:length])]


def line_forgeries(document: Document, step: int, chance: random.Random) -> Iterator[tuple[str, Document]]:
    """What the second forger can do to each record (to one in ``step``), without touching any hash."""
    places = document.record_places
    for place in places[::step]:
        line = document.lines[place]
        other = chance.choice([p for p in places if p != place])
        yield from (
            (f"line {place} dropped", document.without(place)),
            (f"line {place} doubled", document.with_inserted(place, [line])),
            (f"lines {place} and {other} swapped", document.swapped(place, other)),
            (f"line {place} in place of line {other}", document.with_line(other, line)),
            (f"line {place} moved to line {other}", document.without(place).with_inserted(other, [line])),
            (f"record of line {place} edited", document.with_line(place, edited(line, chance))),
            (f"hash of line {place} edited", document.with_line(place, {**line, "hash": "0" * 64})),
        )


def edited(line: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    """One member of the record changed to another value of its kind."""
    record = dict(line["record"])
    name = chance.choice(sorted(set(record) - {"kind"}))
    match record[name]:
        case int(value):
            record[name] = value + 1
        case str(value):
            record[name] = value[:-1] + ("0" if value[-1] != "0" else "1")
        case list(items):
            record[name] = [*items[:-1], {**items[-1], "charged": not items[-1]["charged"]}]
    return {**line, "record": record}


def test_records_dropped_doubled_swapped_moved_or_edited_are_found_though_the_last_line_fits(
    large: Books, effort: Effort, tallying: Tallying
) -> None:
    """The second forger; swaps and moves reach over into the chains of other keys."""
    document = Document.of(large.export)
    with tallying("records dropped, doubled, swapped, edited", "export") as tally:
        for what, forged in line_forgeries(document, STEP[effort.is_long], effort.chance("lines")):
            tally.faults += 1
            if holds(forged.sealed()):
                tally.other.append(f"{what}: not found")


def test_a_tail_that_was_cut_or_moved_to_another_key_is_found_though_the_last_line_fits(
    large: Books, effort: Effort, tallying: Tallying
) -> None:
    document = Document.of(large.export)
    with tallying("tails cut, forked, spliced between keys", "export") as tally:
        places, ids = document.record_places, document.key_ids
        for place in places[:: STEP[effort.is_long]]:
            key_id = document.lines[place]["record"]["key_id"]
            own = [p for p in places if document.lines[p]["record"]["key_id"] == key_id]
            tail = [p for p in own if p >= place]
            other = ids[(ids.index(key_id) + 1) % len(ids)]
            end_of_other = max(p for p in places if document.lines[p]["record"]["key_id"] == other)
            moved = [document.lines[p] for p in tail]
            spliced = document.with_inserted(end_of_other + 1, moved)
            forked = document.with_inserted(own[-1] + 1, moved)
            for what, forged in (
                ("cut", document.without(*tail)),
                ("copied to another key", spliced),
                ("told twice", forked),
            ):
                tally.faults += 1
                if holds(forged.sealed()):
                    tally.other.append(f"tail from line {place} {what}: not found")
