"""Which of our files somebody names: a whole ledger, one key's records, or a table for spreadsheets; or none.

In: the lines of a file. Out: its kind, or the findings on one that can be verified. A table holds no items,
so that no hash can be computed from it; one key's records are a chain, but state no end of their own.

The first line decides. An export that lost its first lines begins like another of its lines, and is an
export that does not hold. One whose first line begins like none of ours is refused all the same, and the
refusal says that it may have been altered.
"""

import itertools
from collections.abc import Iterable
from typing import Literal, TypeAlias

from pydantic import ValidationError

from shared.chain import Account, ChainBroken, Link, verify_chain
from shared.digest import parse_canonical
from teacher_service.metering.archive import LedgerInvalid
from teacher_service.metering.auditing.export_file import RecordLine
from teacher_service.metering.auditing.verify import Verified, verify_export

Kind: TypeAlias = Literal["ledger", "records", "table"]
_BEGINNINGS: dict[Kind, tuple[bytes, ...]] = {
    "records": (b'{"hash":',),
    "table": (b"key_id,", b"day,"),
    "ledger": (b'{"kind":', b'{"billing":', b'{"digest":'),
}
"""Of a first line; a ledger's header, or where that was cut off, the line of a key or the last one."""


class NotAnExport(Exception):
    """A file that cannot be used so, of ours or not; the message says which would do."""


def check_importable(lines: Iterable[bytes]) -> Iterable[bytes]:
    """The lines again, if they may be a whole ledger's. Raises NotAnExport."""
    kind, again = _kind_of(lines)
    if kind != "ledger":
        what = "the records of one key" if kind == "records" else "a table of records"
        raise NotAnExport(
            f"it holds {what}, not a whole ledger. Export that with: teacher-service ledger export FILE"
        )
    return again


def verify_file(lines: Iterable[bytes]) -> tuple[Verified, Kind]:
    """Check a whole ledger's export, or the chain of one key.

    Raises:
        LedgerInvalid: it does not hold; names the line.
        NotAnExport: it is a table, or begins like no file of ours.
    """
    kind, again = _kind_of(lines)
    if kind == "table":
        raise NotAnExport(
            "it is a table for spreadsheets, without what the hashes cover. Export jsonl instead"
        )
    if kind == "records":
        return Verified((_verify_records(again),)), kind
    return verify_export(again), kind


def _kind_of(lines: Iterable[bytes]) -> tuple[Kind, Iterable[bytes]]:
    rest = iter(lines)
    first = next(rest, b"")
    again = itertools.chain([first] if first else [], rest)
    for kind, beginnings in _BEGINNINGS.items():
        if first.startswith(beginnings):
            return kind, again
    why = "it does not begin as an export does: it is none, or was altered" if first else "it is empty"
    raise NotAnExport(f"{why}. A ledger is exported with: teacher-service ledger export FILE")


def _verify_records(lines: Iterable[bytes]) -> Account:
    account: Account | None = None
    for number, data in enumerate(lines, start=1):
        try:
            line = RecordLine.model_validate(parse_canonical(data))
            account = verify_chain([Link(line.record, line.hash)], account)
        except ValidationError as error:
            raise LedgerInvalid(f"Line {number}: not a record ({error.errors()[0]['msg']}).") from None
        except (ChainBroken, ValueError) as error:
            raise LedgerInvalid(f"Line {number}: {error}.") from None
    assert account is not None, "the first line was looked at"
    return account
