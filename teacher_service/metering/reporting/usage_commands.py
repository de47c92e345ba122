"""``teacher-service usage``: who spent how much, by key or by day.

In: one key or all, and a span of days of UTC. Out: a table, CSV or JSON. Works beside a running server.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.admin_protocol import UsageOfDay, UsageOfKey
from shared.budgets import moment_text
from teacher_service.access.commands import find_key
from teacher_service.errors import InvalidArgument
from teacher_service.metering.reporting.tables import DAY_COLUMNS, KEY_COLUMNS, to_csv, usage_cells
from teacher_service.metering.reporting.usage_report import (
    InvalidSpan,
    Span,
    usage_by_day,
    usage_by_key,
)
from teacher_service.options import AsJson, DataDir, LedgerUrl, check_choice, settings_from, with_ledger
from teacher_service.output import emit, table

if TYPE_CHECKING:
    from teacher_service.metering.archive import Archive

Day = Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="A day of UTC, included.")]


def usage(
    *,
    by: Annotated[str, typer.Option(help="key: accounts as they are now. day: what was done.")] = "key",
    key: Annotated[str | None, typer.Option(help="Key id, or a name that only one key has.")] = None,
    since: Day = None,
    until: Day = None,
    format_: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Queries spent, by key or by day."""
    check_choice("--by", by, ("key", "day"))
    check_choice("--format", format_, ("table", "csv", "json"))
    if as_json and format_ == "csv":
        raise InvalidArgument("--json and --format csv exclude each other: leave one out.")
    span = _span(since, until)
    settings = settings_from(data_dir=data_dir, ledger=ledger)

    async def read(ledger: "Archive") -> Sequence[UsageOfKey | UsageOfDay]:
        key_id = None if key is None else find_key(await ledger.keys(), key).key_id
        return await (usage_by_day if by == "day" else usage_by_key)(ledger, span, key_id)

    columns = DAY_COLUMNS if by == "day" else KEY_COLUMNS
    cells = usage_cells(with_ledger(settings, read))
    rows = [dict(zip(columns, row, strict=True)) for row in cells]
    for row in rows:
        if "day" in row:
            row["day"] = row["day"].isoformat()
    if format_ == "csv":
        text = to_csv(cells, columns).removesuffix("\n")
    else:
        text = table(
            [column.removesuffix("_at_ms").replace("_", " ") for column in columns],
            [_shown(row) for row in rows],
        )
    emit({"by": by, "rows": rows}, text, as_json=as_json or format_ == "json")


def _shown(row: Mapping[str, Any]) -> tuple[object, ...]:
    """A row of the table: moments and yes or no in words."""
    words: dict[str, object] = {}
    if "window_ends_at_ms" in row:
        ends_at_ms = row["window_ends_at_ms"]
        words["window_ends_at_ms"] = "none" if ends_at_ms is None else moment_text(ends_at_ms)
        words["revoked"] = "yes" if row["revoked"] else "no"
    return tuple({**row, **words}.values())


def _span(since: str | None, until: str | None) -> Span:
    try:
        return Span(_day("--since", since), _day("--until", until))
    except InvalidSpan as error:
        raise InvalidArgument(str(error)) from None


def _day(flag: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise InvalidArgument(f"{flag} {text!r} is no day: write it as 2026-01-31.") from None
