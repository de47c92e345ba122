"""Budgets that renew themselves: each hour or day of UTC allows its queries, once, whatever the clock does.

The contract of every store. After each test the ledger is verified: its sums by window and by day must be
what its chains add up to.
"""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.chain import Window, window_index
from teacher_service.access.keys import mint
from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.ledger import (
    DAY_MS,
    BudgetExhausted,
    DayUsage,
    HoldExpired,
    LedgerError,
    UnknownKey,
)

HOUR_MS = 3_600_000
MIDNIGHT_MS = 1_700_006_400_000
EVE, DAY = date(2023, 11, 14), date(2023, 11, 15)


@pytest.fixture
def ledger_desk(desk: Any) -> Iterator[Any]:
    """A quarter of an hour before midnight; verified in the end."""
    desk.clock.now_ms = MIDNIGHT_MS - HOUR_MS // 4
    yield desk
    desk.run(verify_store(desk.ledger))


def refused(desk: Any, key: str, *images: str) -> BudgetExhausted:
    with pytest.raises(BudgetExhausted) as caught:
        desk.reserve(key, *images)
    return caught.value


def days_of(desk: Any, key: str) -> list[DayUsage]:
    return list(desk.run(desk.ledger.usage_by_day(key)))


class TestEachWindow:
    @pytest.mark.parametrize(("window", "length_ms"), [("hour", HOUR_MS), ("day", DAY_MS)])
    def test_allows_the_budget_anew(self, ledger_desk: Any, window: Window, length_ms: int) -> None:
        key = ledger_desk.new_key(budget=2, window=window)
        for number in range(3):
            ledger_desk.buy(key, f"{number} a", f"{number} b")
            assert refused(ledger_desk, key, "more").remaining == 0
            ledger_desk.clock.now_ms += length_ms
        account = ledger_desk.account(key)
        assert (account.used, account.used_in_window, account.remaining) == (6, 0, 2)

    def test_begins_with_its_first_millisecond_and_not_before(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=1, window="day")
        ledger_desk.buy(key, "a")
        ledger_desk.clock.now_ms = MIDNIGHT_MS - 1
        assert refused(ledger_desk, key, "b").refills_in_ms == 1
        ledger_desk.clock.now_ms = MIDNIGHT_MS
        assert ledger_desk.buy(key, "b").remaining == 0

    def test_carries_nothing_over_from_a_day_without_spending(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=2, window="day")
        ledger_desk.clock.now_ms += 10 * DAY_MS
        assert refused(ledger_desk, key, "a", "b", "c").remaining == 2

    def test_is_counted_in_what_the_key_has_left(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=5, window="day")
        settlement = ledger_desk.buy(key, "a", "b")
        assert (settlement.budget, settlement.used_after, settlement.remaining) == (5, 2, 3)
        ledger_desk.clock.now_ms = MIDNIGHT_MS
        settlement = ledger_desk.buy(key, "c")
        assert (settlement.budget, settlement.used_after, settlement.remaining) == (5, 3, 4)
        account = ledger_desk.account(key)
        assert (account.window, account.used, account.used_in_window, account.held) == ("day", 3, 1, 0)
        assert ledger_desk.run(ledger_desk.ledger.keys()) == [account]

    def test_charges_no_replay(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=1, window="day")
        ledger_desk.buy(key, "a")
        assert ledger_desk.buy(key, "a").charged == 0
        ledger_desk.clock.now_ms = MIDNIGHT_MS
        replay = ledger_desk.buy(key, "a")
        assert (replay.charged, replay.remaining) == (0, 1), "what was paid yesterday stays paid"
        assert ledger_desk.buy(key, "b").remaining == 0

    def test_pays_every_call_where_that_was_agreed(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=1, window="day", billing="every-call")
        ledger_desk.buy(key, "a")
        assert refused(ledger_desk, key, "a").remaining == 0
        ledger_desk.clock.now_ms = MIDNIGHT_MS
        assert ledger_desk.buy(key, "a").used_after == 2


class TestRefusals:
    def test_say_when_the_next_window_begins(self, ledger_desk: Any) -> None:
        by_day = ledger_desk.new_key(budget=1, window="day")
        by_hour = ledger_desk.new_key(budget=1, window="hour")
        ledger_desk.clock.now_ms = MIDNIGHT_MS + 5 * HOUR_MS + 1
        assert refused(ledger_desk, by_day, "a", "b").refills_in_ms == 19 * HOUR_MS - 1
        assert refused(ledger_desk, by_hour, "a", "b").refills_in_ms == HOUR_MS - 1

    def test_of_a_budget_in_total_promise_no_other_window(self, ledger_desk: Any) -> None:
        error = refused(ledger_desk, ledger_desk.new_key(budget=1), "a", "b")
        assert error.refills_in_ms is None
        assert "wait" not in str(error)

    def test_tell_to_wait_only_where_that_would_help(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=2, window="day")
        ledger_desk.buy(key, "a")
        assert "or wait 15 min for the next window" in str(refused(ledger_desk, key, "b", "c"))
        assert "or ask for fewer images at once" in str(refused(ledger_desk, key, "b", "c", "d"))

    def test_change_nothing(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=1, window="day")
        before = ledger_desk.account(key)
        refused(ledger_desk, key, "a", "b")
        assert ledger_desk.account(key) == before
        assert days_of(ledger_desk, key) == []


class TestHoldsAcrossMidnight:
    """Leases of the tests last 10 s."""

    def test_are_charged_to_the_day_that_settles_them(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=3, window="day")
        ledger_desk.clock.now_ms = MIDNIGHT_MS - 1000
        hold = ledger_desk.reserve(key, "a", "b")
        ledger_desk.clock.now_ms = MIDNIGHT_MS + 1000
        settlement = ledger_desk.settle(hold)
        assert (settlement.at_ms, settlement.remaining) == (MIDNIGHT_MS + 1000, 1)
        assert days_of(ledger_desk, key) == [DayUsage(DAY, 1, 2, 0)]
        assert refused(ledger_desk, key, "c", "d").remaining == 1

    def test_stay_held_so_that_the_new_day_cannot_be_overspent(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=3, window="day")
        ledger_desk.clock.now_ms = MIDNIGHT_MS - 1000
        ledger_desk.buy(key, "old")
        hold = ledger_desk.reserve(key, "a", "b")
        ledger_desk.clock.now_ms = MIDNIGHT_MS + 1000
        account = ledger_desk.account(key)
        assert (account.used_in_window, account.held, account.remaining) == (0, 2, 1)
        assert refused(ledger_desk, key, "c", "d").remaining == 1
        ledger_desk.buy(key, "c")
        assert ledger_desk.settle(hold).remaining == 0

    def test_give_back_to_the_new_day_what_they_release(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=2, window="day")
        ledger_desk.clock.now_ms = MIDNIGHT_MS - 1000
        hold = ledger_desk.reserve(key, "a", "b")
        ledger_desk.clock.now_ms = MIDNIGHT_MS + 1000
        ledger_desk.release(hold)
        assert ledger_desk.buy(key, "c", "d").remaining == 0

    def test_expire_as_ever(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=2, window="day")
        ledger_desk.clock.now_ms = MIDNIGHT_MS - 1000
        hold = ledger_desk.reserve(key, "a", "b")
        ledger_desk.clock.now_ms = MIDNIGHT_MS + 60_000
        assert ledger_desk.buy(key, "c", "d").remaining == 0
        with pytest.raises(HoldExpired):
            ledger_desk.settle(hold)


class TestAClockSetBack:
    def test_opens_no_second_window(self, ledger_desk: Any) -> None:
        """Spent after midnight, the clock goes back to the evening: the day's budget stays spent."""
        key = ledger_desk.new_key(budget=2, window="day")
        ledger_desk.clock.now_ms = MIDNIGHT_MS + 1000
        ledger_desk.buy(key, "a")
        ledger_desk.clock.now_ms = MIDNIGHT_MS - HOUR_MS
        settlement = ledger_desk.buy(key, "b")
        assert (settlement.remaining, settlement.at_ms) == (0, MIDNIGHT_MS), "never in a window that is over"
        assert refused(ledger_desk, key, "c").remaining == 0
        ledger_desk.clock.now_ms = MIDNIGHT_MS + 2000
        assert refused(ledger_desk, key, "c").remaining == 0
        assert days_of(ledger_desk, key) == [DayUsage(DAY, 2, 2, 0)]

    def test_does_not_bring_the_next_window_nearer(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=1, window="day")
        ledger_desk.clock.now_ms = MIDNIGHT_MS
        ledger_desk.buy(key, "a")
        ledger_desk.clock.now_ms = MIDNIGHT_MS - HOUR_MS
        assert refused(ledger_desk, key, "b").refills_in_ms == DAY_MS + HOUR_MS

    def test_keeps_a_window_that_a_reservation_began(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=2, window="day")
        ledger_desk.buy(key, "eve")
        ledger_desk.clock.now_ms = MIDNIGHT_MS
        hold = ledger_desk.reserve(key, "a")
        ledger_desk.run(verify_store(ledger_desk.ledger))
        ledger_desk.clock.now_ms = MIDNIGHT_MS - 5000
        assert ledger_desk.settle(hold).at_ms == MIDNIGHT_MS
        assert (ledger_desk.account(key).used_in_window, ledger_desk.account(key).remaining) == (1, 1)
        assert days_of(ledger_desk, key) == [DayUsage(EVE, 1, 1, 0), DayUsage(DAY, 1, 1, 0)]

    def test_keeps_a_window_in_which_only_a_replay_was_delivered(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=2, window="day")
        ledger_desk.buy(key, "a", "b")
        ledger_desk.clock.now_ms = MIDNIGHT_MS
        ledger_desk.buy(key, "a")
        ledger_desk.clock.now_ms = MIDNIGHT_MS - 5000
        assert ledger_desk.buy(key, "c").remaining == 1

    def test_dates_grants_and_revocations_in_the_window_that_has_begun(self, ledger_desk: Any) -> None:
        """They too stand on the chain, where nothing later may claim to be older than the window."""
        key = ledger_desk.new_key(budget=1, window="day")
        ledger_desk.clock.now_ms = MIDNIGHT_MS + 1000
        ledger_desk.buy(key, "a")
        ledger_desk.clock.now_ms = MIDNIGHT_MS - HOUR_MS
        ledger_desk.run(ledger_desk.ledger.grant(key, 1))
        ledger_desk.run(ledger_desk.ledger.revoke(key))
        dated = {link.record["kind"]: link.record["at_ms"] for link in ledger_desk.links(key)}
        assert (dated["grant"], dated["revoke"]) == (MIDNIGHT_MS, MIDNIGHT_MS)

    def test_leaves_a_budget_in_total_as_it_was(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=2)
        ledger_desk.buy(key, "a")
        ledger_desk.clock.now_ms -= 10 * DAY_MS
        assert ledger_desk.buy(key, "b").remaining == 0
        refused(ledger_desk, key, "c")


class TestGrants:
    def test_raise_every_window_from_then_on(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=1, window="day")
        ledger_desk.buy(key, "a")
        granted = ledger_desk.run(ledger_desk.ledger.grant(key, 2))
        assert (granted.budget, granted.used_in_window, granted.remaining) == (3, 1, 2)
        ledger_desk.buy(key, "b", "c")
        refused(ledger_desk, key, "d")
        ledger_desk.clock.now_ms = MIDNIGHT_MS
        assert ledger_desk.buy(key, "d", "e", "f").remaining == 0

    def test_after_midnight_find_the_new_window_unspent(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=1, window="day")
        ledger_desk.buy(key, "a")
        ledger_desk.clock.now_ms = MIDNIGHT_MS
        granted = ledger_desk.run(ledger_desk.ledger.grant(key, 1))
        assert (granted.used, granted.used_in_window, granted.remaining) == (1, 0, 2)

    def test_a_revocation_ends_all_windows(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key(budget=1, window="day")
        ledger_desk.buy(key, "a")
        ledger_desk.run(ledger_desk.ledger.revoke(key))
        ledger_desk.clock.now_ms = MIDNIGHT_MS
        with pytest.raises(LedgerError, match="was revoked"):
            ledger_desk.reserve(key, "b")


class TestManyAtOnce:
    def test_spend_a_window_exactly(self, ledger_desk: Any) -> None:
        """64 requests for 3 on a budget of 50: 16 pass whole, then 2 singles; and so again the next day."""
        key = ledger_desk.new_key(budget=50, window="day")
        for day in range(2):
            assert race(ledger_desk, key, f"triple {day}", requests=64, size=3) == 16
            assert race(ledger_desk, key, f"single {day}", requests=16, size=1) == 2
            assert ledger_desk.account(key).remaining == 0
            ledger_desk.clock.now_ms += DAY_MS
        assert [usage.charged for usage in days_of(ledger_desk, key)] == [50, 50]

    def test_across_midnight_spend_neither_day_twice(self, ledger_desk: Any) -> None:
        """Held before and settled after midnight beside those of the new day: together one budget."""
        key = ledger_desk.new_key(budget=10, window="day")
        ledger_desk.clock.now_ms = MIDNIGHT_MS - 1000
        held = [ledger_desk.reserve(key, f"eve {number}") for number in range(7)]
        ledger_desk.clock.now_ms = MIDNIGHT_MS + 1000
        assert race(ledger_desk, key, "day", requests=16, size=1) == 3
        for hold in held:
            ledger_desk.settle(hold)
        assert days_of(ledger_desk, key) == [DayUsage(DAY, 10, 10, 0)]


def race(desk: Any, key: str, name: str, *, requests: int, size: int) -> int:
    """Send requests of ``size`` images at once; returns how many were served, the others being exhausted."""

    async def one(number: int) -> bool:
        images = tuple(f"{name} {number} {rank}" for rank in range(size))
        try:
            hold = await desk.ledger.reserve(desk.reservation(key, *images))
        except BudgetExhausted:
            return False
        descriptors = {image: image for image in hold.reservation.images}
        await desk.ledger.settle(hold, descriptors)
        return True

    async def all_at_once() -> list[bool]:
        return list(await asyncio.gather(*(one(number) for number in range(requests))))

    return sum(desk.run(all_at_once()))


class TestUsageByDay:
    def test_adds_up_requests_charges_and_replays_by_the_day_that_settled_them(
        self, ledger_desk: Any
    ) -> None:
        key = ledger_desk.new_key(budget=9)
        ledger_desk.buy(key, "a", "b")
        ledger_desk.buy(key, "a", "c")
        ledger_desk.buy(key, "a")
        ledger_desk.clock.now_ms = MIDNIGHT_MS + 3 * DAY_MS
        ledger_desk.buy(key, "d")
        assert days_of(ledger_desk, key) == [DayUsage(EVE, 3, 3, 2), DayUsage(date(2023, 11, 18), 1, 1, 0)]

    def test_is_each_keys_own(self, ledger_desk: Any) -> None:
        one, other = ledger_desk.new_key(), ledger_desk.new_key()
        ledger_desk.buy(one, "a")
        assert [len(days_of(ledger_desk, key)) for key in (one, other)] == [1, 0]

    def test_counts_nothing_that_was_not_delivered(self, ledger_desk: Any) -> None:
        key = ledger_desk.new_key()
        ledger_desk.release(ledger_desk.reserve(key, "a"))
        ledger_desk.reserve(key, "b")
        assert days_of(ledger_desk, key) == []

    def test_of_an_unknown_key_is_refused(self, ledger_desk: Any) -> None:
        with pytest.raises(UnknownKey):
            days_of(ledger_desk, "0" * 16)


def test_a_key_is_opened_with_the_window_that_it_was_minted_with(ledger_desk: Any) -> None:
    _, new = mint("a", 7, window="hour")
    record = ledger_desk.run(ledger_desk.ledger.create_key(new))
    assert (record.budget, record.window, record.used_in_window) == (7, "hour", 0)
    assert ledger_desk.links(new.key_id)[0].record["window"] == "hour"
    assert ledger_desk.account(new.key_id) == dataclasses.replace(record)


steps = st.lists(
    st.tuples(st.integers(-HOUR_MS, 2 * HOUR_MS), st.integers(1, 4), st.booleans()), min_size=1, max_size=12
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, budget=st.integers(1, 6))
def test_no_hour_is_charged_more_than_its_budget_however_the_clock_jumps(
    ledger_desk: Any, steps: list[tuple[int, int, bool]], budget: int
) -> None:
    """Against the events themselves, grouped by the hour that each is dated in."""
    desk = ledger_desk
    key = desk.new_key(budget=budget, window="hour")
    for number, (jump_ms, size, delivered) in enumerate(steps):
        desk.clock.now_ms += jump_ms
        try:
            hold = desk.reserve(key, *(f"{key} {number} {rank}" for rank in range(size)))
        except BudgetExhausted as error:
            assert size > error.remaining
            continue
        if delivered:
            desk.settle(hold)
        else:
            desk.release(hold)
    charged: Counter[int] = Counter()
    dated = []
    for link in desk.links(key)[1:]:
        dated.append(window_index("hour", link.record["at_ms"]))
        charged[dated[-1]] += link.record["charged"]
    assert all(count <= budget for count in charged.values())
    assert dated == sorted(dated), "a window that is over was charged"
    desk.run(verify_store(desk.ledger))
