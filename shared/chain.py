"""The ledger's records and the hash chain that binds them, one chain per API key.

In: events, as the service writes them or as they arrive in an export. Out: canonical records, chain
hashes, and for a whole chain the account it adds up to, or the first record that is wrong. No I/O.

A chain starts with a genesis event and holds every fact that changes what a key may spend or has
spent: grants, revocation, and one settle event for each answered request. Holds are not on it: a hold
that was never settled delivered nothing.

    h_n = SHA256(0x01 || h_{n-1} || canonical JSON of event n),   h_{-1} = 32 zero bytes
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

ZERO_HASH = "00" * 32
_LEAF_PREFIX = b"\x01"

Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Billing: TypeAlias = Literal["distinct", "every-call"]
Window: TypeAlias = Literal["total", "hour", "day"]
"""What a budget is for: the key's whole life, or each hour or day of UTC."""

WINDOW_MS: Mapping[Window, int] = {"hour": 3_600_000, "day": 86_400_000}


class _Record(BaseModel):
    """Base of everything on the chain: frozen, strictly typed, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Event(_Record):
    key_id: str = Field(min_length=1, max_length=64)
    seq: Count
    at_ms: Count
    """Wall clock of the ledger's authority, milliseconds since 1970."""


class Genesis(_Event):
    """A key was created with a budget. Always event 0, and only event 0."""

    kind: Literal["genesis"] = "genesis"
    name: str
    budget: Count
    window: Window = "total"
    billing: Billing


class Grant(_Event):
    """The budget (of each window) was raised by ``amount`` queries."""

    kind: Literal["grant"] = "grant"
    amount: Annotated[int, Field(ge=1, le=2**53 - 1)]
    budget_after: Count


class Revoke(_Event):
    """The key was revoked: no event may follow."""

    kind: Literal["revoke"] = "revoke"


class Item(_Record):
    """One distinct image of a settled request: what was sent for it, and whether it was charged."""

    image: Sha256Hex
    """SHA-256 of the encoded image bytes."""
    descriptor: Sha256Hex
    """SHA-256 of the delivered float32 little-endian descriptor."""
    charged: bool


class Settle(_Event):
    """A request was answered: the charge is durable, the bytes may leave."""

    kind: Literal["settle"] = "settle"
    request_id: str = Field(min_length=1, max_length=128)
    teacher_revision: Sha256Hex
    charged: Count
    replayed: Count
    used_after: Count
    items: tuple[Item, ...] = Field(min_length=1, strict=False)


Event: TypeAlias = Annotated[Genesis | Grant | Revoke | Settle, Field(discriminator="kind")]
_EVENT: TypeAdapter[Genesis | Grant | Revoke | Settle] = TypeAdapter(Event)


@dataclass(frozen=True, slots=True)
class Link:
    """One event as stored and exported: its record (plain JSON) and its chain hash in hexadecimal."""

    record: Mapping[str, Any]
    hash: str


@dataclass(slots=True)
class Account:
    """What a chain adds up to."""

    key_id: str
    name: str = ""
    billing: Billing = "distinct"
    budget: int = 0
    window: Window = "total"
    used: int = 0
    """Queries charged in all."""
    window_index: int = 0
    """The latest window that anything was charged in."""
    used_in_window: int = 0
    """Queries charged in that window; under ``total`` the same as ``used``."""
    replayed: int = 0
    revoked: bool = False
    seq: int = -1
    head: str = ZERO_HASH
    charged_images: set[tuple[str, str]] = field(default_factory=set)
    """(teacher revision, image digest) of everything ever charged."""

    @property
    def remaining(self) -> int:
        """Queries left in the latest window, holds not counted."""
        return self.budget - self.used_in_window


def window_index(window: Window, at_ms: int) -> int:
    """Which window of UTC a moment lies in; a budget in total has only one."""
    return 0 if window == "total" else at_ms // WINDOW_MS[window]


def window_start_ms(window: Window, index: int) -> int:
    """When a window begins, in milliseconds since 1970; a budget in total begins at 0."""
    return 0 if window == "total" else index * WINDOW_MS[window]


def window_end_ms(window: Window, at_ms: int) -> int | None:
    """When the next window begins, in milliseconds since 1970; None for a budget in total."""
    return None if window == "total" else (window_index(window, at_ms) + 1) * WINDOW_MS[window]


class ChainBroken(ValueError):
    """A chain does not hold; ``seq`` is the position of the first bad record."""

    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(f"Ledger record {seq}: {reason}")
        self.seq = seq
        self.reason = reason


def record_of(event: BaseModel) -> dict[str, Any]:
    """The event as plain JSON values."""
    return event.model_dump(mode="json")


def canonical_record(record: Mapping[str, Any]) -> bytes:
    """The bytes of a record that are hashed; see :func:`shared.digest.canonical_json`.

    Records are validated to hold no floats, so the check for them is left out here.
    """
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)


def chain_hash(previous: str, record_json: bytes) -> str:
    """h_n from h_{n-1} (hexadecimal) and the canonical JSON of event n."""
    return hashlib.sha256(_LEAF_PREFIX + bytes.fromhex(previous) + record_json).hexdigest()


def link(event: BaseModel, previous: str) -> Link:
    """Append ``event`` after the hash ``previous``."""
    record = record_of(event)
    return Link(record, chain_hash(previous, canonical_record(record)))


def parse_event(record: Mapping[str, Any], seq: int) -> Genesis | Grant | Revoke | Settle:
    """Validate one record.

    Raises:
        ChainBroken: unknown kind, missing or unknown field, wrong type.
    """
    try:
        # From JSON text, so that what validates is exactly what the hash covers.
        return _EVENT.validate_json(canonical_record(record))
    except (ValidationError, TypeError, orjson.JSONEncodeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(str(part) for part in first["loc"])
        raise ChainBroken(seq, f"is not a ledger event ({where}: {first['msg']})") from None


def verify_chain(links: Iterable[Link], account: Account | None = None) -> Account:
    """Check a chain from its genesis (or from ``account``, which is then advanced) and add it up.

    Checks: every hash; sequence numbers without gaps; one genesis, first; counts that agree with the
    items; ``used_after`` and ``budget_after`` as sums; used in a window never above budget; under
    ``distinct`` billing no image charged twice; no replay of an image never charged; nothing after a
    revocation; one key throughout.

    Raises:
        ChainBroken: names the first bad record.
    """
    for entry in links:
        seq = 0 if account is None else account.seq + 1
        event = parse_event(entry.record, seq)
        previous = ZERO_HASH if account is None else account.head
        if entry.hash != chain_hash(previous, canonical_record(entry.record)):
            raise ChainBroken(seq, "its hash does not follow from the record before it")
        if event.seq != seq:
            raise ChainBroken(seq, f"carries sequence number {event.seq}")
        if account is None:
            account = _opened(event)
        else:
            _apply(event, account)
        account.seq, account.head = seq, entry.hash
    if account is None:
        raise ChainBroken(0, "is missing: a chain holds at least its genesis")
    return account


def _opened(event: Genesis | Grant | Revoke | Settle) -> Account:
    if not isinstance(event, Genesis):
        raise ChainBroken(0, f"is a {event.kind} event, expected genesis")
    return Account(
        key_id=event.key_id,
        name=event.name,
        billing=event.billing,
        budget=event.budget,
        window=event.window,
        window_index=window_index(event.window, event.at_ms),
    )


def _apply(event: Genesis | Grant | Revoke | Settle, account: Account) -> None:
    if event.key_id != account.key_id:
        raise ChainBroken(event.seq, f"belongs to key {event.key_id}, this chain to {account.key_id}")
    if account.revoked:
        raise ChainBroken(event.seq, f"is a {event.kind} event after the key was revoked")
    match event:
        case Genesis():
            raise ChainBroken(event.seq, "is a second genesis")
        case Grant():
            account.budget += event.amount
            if event.budget_after != account.budget:
                raise ChainBroken(
                    event.seq, f"says the budget is {event.budget_after}, it is {account.budget}"
                )
        case Revoke():
            account.revoked = True
        case Settle():
            _settle(event, account)


def _settle(event: Settle, account: Account) -> None:
    charged = [item for item in event.items if item.charged]
    if (len(charged), len(event.items) - len(charged)) != (event.charged, event.replayed):
        raise ChainBroken(event.seq, "its counts disagree with its items")
    if len({item.image for item in event.items}) != len(event.items):
        raise ChainBroken(event.seq, "lists an image twice")
    for item in event.items:
        owned = (event.teacher_revision, item.image) in account.charged_images
        if item.charged and owned and account.billing == "distinct":
            raise ChainBroken(event.seq, f"charges image {item.image[:12]} a second time")
        if not item.charged and not owned:
            raise ChainBroken(event.seq, f"replays image {item.image[:12]}, which was never charged")
    account.charged_images.update((event.teacher_revision, item.image) for item in charged)
    account.used += event.charged
    account.replayed += event.replayed
    if event.used_after != account.used:
        raise ChainBroken(event.seq, f"says {event.used_after} queries are used, they are {account.used}")
    # A clock that is set back opens no second window: a window, once begun, goes on.
    current = max(account.window_index, window_index(account.window, event.at_ms))
    if current != account.window_index:
        account.window_index, account.used_in_window = current, 0
    account.used_in_window += event.charged
    if account.used_in_window > account.budget:
        raise ChainBroken(event.seq, f"spends {account.used_in_window} of a budget of {account.budget}")
