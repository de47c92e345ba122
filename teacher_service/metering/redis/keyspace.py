"""Where things stand in Redis, and how an account reads there.

In: key ids. Out: names of Redis keys, all of one API key under one hash tag; accounts as domain types.

::

    ration:store                  hash    epoch (names this store for ever), layout, public key of its
                                          receipts, number of keys asked for
    ration:keys                   zset    key ids in the order of their making
    ration:{KEY}:account          hash    what the key may spend and has spent, where its chain ends, and how
                                          many images stand in each :paid hash
    ration:{KEY}:events           stream  its chain: record and hash under the id 1-<seq>
    ration:{KEY}:paid:REVISION    hash    image -> charges; over all revisions they add up to ``used``
    ration:{KEY}:revisions        set     the revisions that have such a hash
    ration:{KEY}:holds            hash    reservations ...
    ration:{KEY}:leases           zset    ... and when they expire
    ration:{KEY}:held_images      hash    image under a live hold -> that hold
    ration:{KEY}:calls            hash    idempotency keys ...
    ration:{KEY}:calls_by_age     zset    ... and when those that may be forgotten were settled
    ration:{KEY}:days             hash    settled requests by day

What grows is bounded: events by requests, paid images by the budget, holds and held images by what is in
flight, calls by a day's requests (billed per call: by the budget).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.chain import Billing, Window, window_end_ms, window_index, window_start_ms
from teacher_service.metering.ledger import KeyRecord, NewKey

LAYOUT = "1"
"""Of what is described above; replicas of one ledger must agree on it."""
STORE = "ration:store"
ALL_KEYS = "ration:keys"
PROBE = "ration:probe"
LIVE, STAGED = "ration", "ration-import"
IMPORTING = "ration-import"
"""The import that began last: only that one may become the ledger."""


@dataclass(frozen=True, slots=True)
class Names:
    """The Redis keys of one API key; ``prefix`` keeps those of an unfinished import apart."""

    account: str
    events: str
    revisions: str
    holds: str
    leases: str
    held_images: str
    calls: str
    calls_by_age: str
    days: str
    paid_prefix: str

    def paid(self, revision: str) -> str:
        """The hash of the images paid under a revision (hexadecimal)."""
        return f"{self.paid_prefix}:{revision}"


def names_of(key_id: str, prefix: str = LIVE) -> Names:
    """The names for one API key; ``prefix`` tells an unfinished import from the ledger."""
    tag = f"{prefix}:{{{key_id}}}"
    return Names(
        account=f"{tag}:account",
        events=f"{tag}:events",
        revisions=f"{tag}:revisions",
        holds=f"{tag}:holds",
        leases=f"{tag}:leases",
        held_images=f"{tag}:held_images",
        calls=f"{tag}:calls",
        calls_by_age=f"{tag}:calls_by_age",
        days=f"{tag}:days",
        paid_prefix=f"{tag}:paid",
    )


def new_account(key: NewKey, created_at_ms: int) -> dict[str | bytes, str | int | bytes]:
    """The account of a key that has not spent anything; its chain is still to be written."""
    return {
        "name": key.name,
        "salt": key.salt,
        "secret_hash": key.secret_hash,
        "billing": key.billing,
        "rate": key.rate,
        "budget": key.budget,
        "window": key.window,
        "used": 0,
        "window_index": window_index(key.window, created_at_ms),
        "used_in_window": 0,
        "held": 0,
        "revoked": 0,
        "created_at_ms": created_at_ms,
        "seq": -1,
        "head": "",
    }


def key_record(key_id: str, account: Mapping[bytes, bytes], now_ms: int) -> KeyRecord:
    """The account as the rest of the service sees it at ``now_ms``."""
    window = window_named(account[b"window"])
    charged_in = int(account[b"window_index"])
    current = max(charged_in, window_index(window, now_ms))
    return KeyRecord(
        key_id=key_id,
        name=account[b"name"].decode(),
        salt=account[b"salt"],
        secret_hash=account[b"secret_hash"],
        billing=billing_named(account[b"billing"]),
        rate=account[b"rate"].decode(),
        budget=int(account[b"budget"]),
        window=window,
        used=int(account[b"used"]),
        used_in_window=0 if current > charged_in else int(account[b"used_in_window"]),
        window_ends_at_ms=window_end_ms(window, window_start_ms(window, current)),
        held=int(account[b"held"]),
        revoked=account[b"revoked"] == b"1",
        created_at_ms=int(account[b"created_at_ms"]),
    )


def window_named(text: bytes) -> Window:
    """The window that an account states. Raises ValueError."""
    match text:
        case b"hour":
            return "hour"
        case b"day":
            return "day"
        case b"total":
            return "total"
        case _:
            raise ValueError(f"no window is called {text!r}")


def billing_named(text: bytes) -> Billing:
    """The billing that an account states. Raises ValueError."""
    match text:
        case b"distinct":
            return "distinct"
        case b"every-call":
            return "every-call"
        case _:
            raise ValueError(f"no billing is called {text!r}")
