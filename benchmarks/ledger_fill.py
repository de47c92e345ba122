"""Ledgers that have already lived: chains of any length, made without a service.

In: how many requests were settled. Out: checked records, as an import writes them.
"""

import hashlib
from collections.abc import Iterator

from shared.chain import ZERO_HASH, Link, canonical_record, chain_hash, record_of, verify_chain
from teacher_service.access.keys import mint
from teacher_service.metering.archive import ArchivedRecord
from teacher_service.metering.events import genesis_event, settle_event
from teacher_service.metering.ledger import Hold, NewKey, Reservation

REVISION = hashlib.sha256(b"teacher").hexdigest()
_BORN_MS = 1_700_000_000_000


def image(number: int, of: str) -> str:
    """The digest of an image that nobody else has."""
    return hashlib.sha256(f"{of} {number}".encode()).hexdigest()


def lived(events: int) -> tuple[NewKey, Iterator[ArchivedRecord]]:
    """A key with that many settled requests of one new image each, and its records."""
    _, key = mint("lived", 10**12)
    return key, _records(key, events)


def links_of(key: NewKey, events: int) -> Iterator[Link]:
    """The chain of a key: its genesis, and requests of one new image each."""
    head = ZERO_HASH
    for seq in range(events + 1):
        if seq == 0:
            record = record_of(genesis_event(key, _BORN_MS))
        else:
            new = image(seq, "lived")
            asked = Reservation(key.key_id, f"request-{seq}", REVISION, (new,))
            hold = Hold("", asked, frozenset((new,)), 0)
            event = settle_event(hold, {new: REVISION}, seq=seq, used=seq - 1, at_ms=_BORN_MS + seq)
            record = record_of(event)
        head = chain_hash(head, canonical_record(record))
        yield Link(record, head)


def _records(key: NewKey, events: int) -> Iterator[ArchivedRecord]:
    account = None
    for link in links_of(key, events):
        account = verify_chain([link], account)
        yield ArchivedRecord(key, _BORN_MS, link, account)
