"""Usage by key and by day, over all keys of a ledger.

In: a ledger, a span of days of UTC, and one key or all. Out: rows, the same for the command and for HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from shared.admin_protocol import UsageOfDay, UsageOfKey
from teacher_service.metering.ledger import DayUsage, KeyRecord, Ledger
from teacher_service.metering.refusals import unknown_key


class InvalidSpan(ValueError):
    """A span of days ends before it begins."""


@dataclass(frozen=True, slots=True)
class Span:
    """Days of UTC, both ends included; None is open. Raises InvalidSpan."""

    since: date | None = None
    until: date | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.until < self.since:
            raise InvalidSpan(f"The days asked for end ({self.until}) before they begin ({self.since}).")

    def __contains__(self, day: date) -> bool:
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)


async def usage_by_key(ledger: Ledger, span: Span, key_id: str | None = None) -> list[UsageOfKey]:
    """One row for each key, oldest first. Raises UnknownKey, LedgerUnavailable."""
    rows = []
    for key in await _keys(ledger, key_id):
        days = await _days(ledger, key, span)
        rows.append(
            UsageOfKey(
                key_id=key.key_id,
                name=key.name,
                budget=key.budget,
                window=key.window,
                window_ends_at_ms=key.window_ends_at_ms,
                used=key.used,
                used_in_window=key.used_in_window,
                held=key.held,
                remaining=key.spendable,
                revoked=key.revoked,
                requests=sum(day.requests for day in days),
                charged=sum(day.charged for day in days),
                replayed=sum(day.replayed for day in days),
            )
        )
    return rows


async def usage_by_day(ledger: Ledger, span: Span, key_id: str | None = None) -> list[UsageOfDay]:
    """One row for each day and key that settled a request, oldest day first.

    Raises UnknownKey, LedgerUnavailable.
    """
    rows = [
        UsageOfDay(
            day=day.day,
            key_id=key.key_id,
            name=key.name,
            requests=day.requests,
            charged=day.charged,
            replayed=day.replayed,
        )
        for key in await _keys(ledger, key_id)
        for day in await _days(ledger, key, span)
    ]
    return sorted(rows, key=lambda row: row.day)  # stable: within a day the oldest key first


async def _keys(ledger: Ledger, key_id: str | None) -> list[KeyRecord]:
    if key_id is None:
        return await ledger.keys()
    key = await ledger.key(key_id)
    if key is None:
        raise unknown_key(key_id)
    return [key]


async def _days(ledger: Ledger, key: KeyRecord, span: Span) -> Sequence[DayUsage]:
    return [day for day in await ledger.usage_by_day(key.key_id) if day.day in span]
