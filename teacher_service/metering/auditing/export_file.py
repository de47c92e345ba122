"""The export file of a ledger: all keys and their chains as JSON lines.

In: key records and chain records, or the lines of a file. Out: lines, or records that have been checked.
No I/O.

::

    {"kind":"ration-ledger-export/1"}
    {"kind":"key", ...}                        the row of one key, keys in order of their ids
    {"kind":"record","hash":...,"record":...}  its chain, from the genesis on
    {"digest":...,"keys":n,"kind":"end","records":n}   SHA-256 of all bytes before this line

Every line is canonical JSON, so that one content has one spelling. The key lines hold salted hashes of
random 256-bit secrets: nobody can compute a key from them, but whoever can write to a ledger could install
them there, and names are personal data; handle the file as sensitive. Not in the file: holds (they have
delivered nothing), idempotency keys (after a move, a repeated call under ``every-call`` is charged again),
and the signing key (copy ``signing.key`` yourself if receipts shall go on under the same public key).
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.chain import Account, Billing, ChainBroken, Count, Link, Sha256Hex, Window, verify_chain
from shared.digest import canonical_json
from teacher_service.metering.archive import ArchivedRecord, LedgerInvalid, Totals, check_sums
from teacher_service.metering.ledger import KeyRecord, NewKey

FORMAT: Literal["ration-ledger-export/1"] = "ration-ledger-export/1"
Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Header(_Line):
    """First line."""

    kind: Literal["ration-ledger-export/1"] = FORMAT


class KeyLine(_Line):
    """One key; ``budget``, ``used``, ``records`` and ``head`` must be what its chain adds up to."""

    kind: Literal["key"] = "key"
    key_id: str
    name: str
    salt: Hex
    secret_hash: Hex
    billing: Billing
    rate: str
    created_at_ms: Count
    budget: Count
    window: Window = "total"
    """Not stated in exports that were made before budgets had windows."""
    used: Count
    revoked: bool
    records: Count
    head: Sha256Hex

    def opened(self, budget: int) -> NewKey:
        """What opens this key anew, with the budget that its genesis states."""
        return NewKey(
            key_id=self.key_id,
            name=self.name,
            salt=bytes.fromhex(self.salt),
            secret_hash=bytes.fromhex(self.secret_hash),
            billing=self.billing,
            rate=self.rate,
            budget=budget,
            window=self.window,
        )


class RecordLine(_Line):
    """One record of the chain of the key line before it."""

    kind: Literal["record"] = "record"
    hash: Sha256Hex
    record: dict[str, Any]


class End(_Line):
    """Last line."""

    kind: Literal["end"] = "end"
    keys: Count
    records: Count
    digest: Sha256Hex


Line: TypeAlias = Annotated[Header | KeyLine | RecordLine | End, Field(discriminator="kind")]
_LINE: TypeAdapter[Header | KeyLine | RecordLine | End] = TypeAdapter(Line)


def key_line(key: KeyRecord, totals: Totals) -> KeyLine:
    """The line of a key whose chain is exported up to ``totals.seq``."""
    return KeyLine(
        key_id=key.key_id,
        name=key.name,
        salt=key.salt.hex(),
        secret_hash=key.secret_hash.hex(),
        billing=key.billing,
        rate=key.rate,
        created_at_ms=key.created_at_ms,
        budget=totals.budget,
        window=key.window,
        used=totals.used,
        revoked=totals.revoked,
        records=totals.records,
        head=totals.head,
    )


def to_bytes(line: _Line) -> bytes:
    """A line of the file, with its end."""
    return canonical_json(line.model_dump(mode="json")) + b"\n"


def read_archive(lines: Iterable[bytes]) -> Iterator[ArchivedRecord]:
    """Check an export line by line and yield its records; nothing is wrong once it has ended.

    Raises:
        LedgerInvalid: names the line, and the key and record where there is one.
    """
    reader = _Reader()
    number = 0
    for number, data in enumerate(lines, start=1):
        try:
            record = reader.take(data)
        except (ChainBroken, LedgerInvalid) as error:
            raise LedgerInvalid(f"Line {number}{reader.place()}: {error}") from None
        if record is not None:
            yield record
    if not reader.ended:
        raise LedgerInvalid(f"Line {number + 1}: the file ends early; its last line is missing or cut.")


class _Reader:
    """Where the reading of an export stands."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._started = self.ended = False
        self._key: KeyLine | None = None
        self._opened: NewKey | None = None
        self._account: Account | None = None
        self._keys = self._records = 0

    def place(self) -> str:
        return f" (key {self._key.key_id})" if self._key else ""

    def take(self, data: bytes) -> ArchivedRecord | None:
        line = _parse(data)
        if self.ended or (isinstance(line, Header) == self._started):
            raise LedgerInvalid(f"a {line.kind} line has no place here")
        self._started = True
        record = None
        match line:
            case KeyLine():
                self._finish_key()
                self._open_key(line)
            case RecordLine():
                record = self._append(line)
            case End():
                self._finish_key()
                self._check_end(line)
        self._digest.update(data)
        return record

    def _open_key(self, line: KeyLine) -> None:
        if self._key is not None and line.key_id <= self._key.key_id:
            raise LedgerInvalid(f"key {line.key_id} is out of order")
        self._key, self._opened, self._account = line, None, None
        self._keys += 1

    def _append(self, line: RecordLine) -> ArchivedRecord:
        if self._key is None:
            raise LedgerInvalid("a record comes before its key")
        link = Link(line.record, line.hash)
        self._account = verify_chain([link], self._account)
        if self._account.key_id != self._key.key_id:
            raise LedgerInvalid(f"the record belongs to key {self._account.key_id}")
        self._records += 1
        if self._opened is None:
            self._opened = self._key.opened(self._account.budget)
        return ArchivedRecord(self._opened, self._key.created_at_ms, link, self._account)

    def _finish_key(self) -> None:
        """The chain of the current key is complete: it must add up to its key line."""
        if self._key is None:
            return
        if self._account is None:
            raise LedgerInvalid(f"key {self._key.key_id} has no records")
        check_sums(
            self._account,
            name=self._key.name,
            billing=self._key.billing,
            budget=self._key.budget,
            window=self._key.window,
            used=self._key.used,
            revoked=self._key.revoked,
            records=self._key.records,
            head=self._key.head,
        )

    def _check_end(self, line: End) -> None:
        counted = (self._keys, self._records, self._digest.hexdigest())
        if (line.keys, line.records, line.digest) != counted:
            raise LedgerInvalid(
                f"the file should hold {line.keys} keys and {line.records} records and have digest "
                f"{line.digest[:12]}; it holds {counted[0]} and {counted[1]} and has {counted[2][:12]}"
            )
        self.ended = True


def _parse(data: bytes) -> Header | KeyLine | RecordLine | End:
    try:
        value = orjson.loads(data)
        if canonical_json(value) + b"\n" != data:
            raise LedgerInvalid("the line is not canonical JSON (sorted, no spaces, each member once)")
        return _LINE.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LedgerInvalid(f"not a line of a ledger export ({where}: {first['msg']})") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise LedgerInvalid(f"not canonical JSON ({error})") from None
