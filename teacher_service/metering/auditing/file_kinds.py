"""Which of our files somebody names: a whole ledger, one key's records, or a table for spreadsheets.

In: the lines of a file. Out: its kind, or the findings on one that can be verified. A table holds no items,
so that no hash can be computed from it; one key's records are a chain, but state no end of their own.
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


class NotAnExport(Exception):
    """A file of ours, but of a kind that cannot be used so; the message says which would do."""


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
        NotAnExport: it is a table.
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
    if first.startswith(b'{"hash":'):
        return "records", again
    return "table" if first.startswith((b"key_id,", b"day,")) else "ledger", again


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
