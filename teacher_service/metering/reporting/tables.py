"""Rows of usage and of the ledger as CSV, for spreadsheets and data frames.

In: rows of usage, or records of a chain. Out: CSV text (RFC 4180, lines end in LF), the same for the command
and for HTTP. Text that a spreadsheet would take for a formula is led by an apostrophe. No I/O.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.admin_protocol import UsageOfDay, UsageOfKey
from shared.chain import Link, parse_event

KEY_COLUMNS = tuple(UsageOfKey.model_fields)
DAY_COLUMNS = tuple(UsageOfDay.model_fields)
RECORD_COLUMNS = (
    "key_id",
    "seq",
    "at",
    "kind",
    "request_id",
    "teacher_revision",
    "charged",
    "replayed",
    "used_after",
    "budget_after",
    "window",
    "hash",
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def usage_cells(rows: Iterable[UsageOfKey | UsageOfDay]) -> list[tuple[Any, ...]]:
    """The values of each row, in the order of its columns."""
    return [tuple(getattr(row, name) for name in type(row).model_fields) for row in rows]


def record_cells(link: Link) -> tuple[Any, ...]:
    """One record of a chain in :data:`RECORD_COLUMNS`; what its kind does not have is empty.

    Raises ChainBroken if it is no record of a ledger.
    """
    event = parse_event(link.record, link.record.get("seq", 0))
    values: dict[str, Any] = event.model_dump() | {"at": utc_time(event.at_ms), "hash": link.hash}
    if event.kind == "genesis":
        values["budget_after"] = values["budget"]
    return tuple(values.get(column, "") for column in RECORD_COLUMNS)


def to_csv(rows: Iterable[Sequence[Any]], header: Sequence[str] | None = None) -> str:
    """Rows as CSV, under their header where it is given."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header is not None:
        writer.writerow(header)
    writer.writerows([_defused(cell) for cell in row] for row in rows)
    return out.getvalue()


def utc_time(at_ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC; beyond the year 9999 as they are."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        return str(at_ms)


def _defused(cell: Any) -> Any:
    """Names and request ids come from outside: a spreadsheet must not compute what they say."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell
