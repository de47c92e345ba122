"""What a chain says was spent by window and by day, held against the sums that a store keeps beside it.

In: pages of verified records, the account that they add up to, and the store's totals. Out: nothing, or
LedgerInvalid for the first window or day that disagrees.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from shared.chain import Account, Link
from teacher_service.metering.archive import LedgerInvalid, Totals
from teacher_service.metering.ledger import DAY_MS, DayUsage, utc_day


@dataclass(slots=True)
class DaySums:
    """Requests, charged and replayed by day of UTC, added up from records."""

    _by_day: dict[int, list[int]] = field(default_factory=dict)

    def add(self, links: Iterable[Link]) -> None:
        """Count the settle events of a page whose records were verified."""
        for link in links:
            record = link.record
            if record["kind"] == "settle":
                sums = self._by_day.setdefault(record["at_ms"] // DAY_MS, [0, 0, 0])
                sums[0] += 1
                sums[1] += record["charged"]
                sums[2] += record["replayed"]

    def days(self) -> tuple[DayUsage, ...]:
        """Oldest day first."""
        return tuple(DayUsage(utc_day(day * DAY_MS), *self._by_day[day]) for day in sorted(self._by_day))


def check_window(totals: Totals, account: Account) -> None:
    """The store must count what the chain charged in its latest window. Raises LedgerInvalid.

    A store may have begun a later window, by a reservation in which nothing is charged yet.
    """
    stored = (totals.window_index, totals.used_in_window)
    begun_since = totals.window_index > account.window_index and totals.used_in_window == 0
    if stored != (account.window_index, account.used_in_window) and not (
        begun_since and account.window != "total"
    ):
        raise LedgerInvalid(
            f"Key {account.key_id}: {totals.used_in_window:,} queries are used in window "
            f"{totals.window_index}; its chain gives {account.used_in_window:,} in window "
            f"{account.window_index}."
        )


def check_days(totals: Totals, account: Account, sums: DaySums) -> None:
    """The store's usage by day must be what the chain's settle events add up to. Raises LedgerInvalid."""
    stored, added_up = tuple(totals.days), sums.days()
    if stored == added_up:
        return
    by_day: tuple[dict[date, DayUsage], ...] = tuple(
        {usage.day: usage for usage in usages} for usages in (stored, added_up)
    )
    wrong = sorted(
        day for day in by_day[0].keys() | by_day[1].keys() if by_day[0].get(day) != by_day[1].get(day)
    )
    if not wrong:
        raise LedgerInvalid(f"Key {account.key_id}: its usage by day is not listed once, oldest day first.")
    raise LedgerInvalid(
        f"Key {account.key_id}: {len(wrong)} days of usage disagree; the first is {wrong[0]}: "
        f"{_told(by_day[0].get(wrong[0]))} in the store, {_told(by_day[1].get(wrong[0]))} on the chain."
    )


def _told(usage: DayUsage | None) -> str:
    if usage is None:
        return "nothing"
    return f"{usage.requests:,} requests, {usage.charged:,} charged, {usage.replayed:,} replayed"
