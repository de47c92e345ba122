"""Rate limits in images: what a window admits, and when it says to come back."""

import asyncio
import contextlib
from typing import Any

import limits.aio.storage.memory as memory_storage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol import Header
from teacher_service.access.rates import InvalidRate, RateLimits, Window, parse_rate
from teacher_service.errors import RateLimited, TooLarge


class Clock:
    """Replaces the time that the rate limiter's store reads."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(memory_storage, "time", stopped)
    return stopped


@pytest.mark.parametrize("text", ["600", "600/fortnight", "a/minute", "-1/minute", "0/minute"])
def test_a_text_that_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InvalidRate, match=r"images per period|at least 1"):
        parse_rate(text)


@pytest.mark.parametrize(
    "text",
    [
        *("600/minute;1/day", "600/minute, 1/day", "600/minute 1/day", "1/month", "1/year", "1/2 years"),
        *("1/0 minutes", "1/-1 minutes", "\u0663/minute", "1" * 5000 + "/day", "1/minute" + " " * 200),
    ],
)
def test_several_limits_and_other_periods_are_refused_with_what_can_be_written(text: str) -> None:
    with pytest.raises(InvalidRate, match="write one limit, images per period, such as 600/minute") as caught:
        parse_rate(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["1/99999999999999999999 days", "1/367 days", "1 per 8785 hours"])
def test_a_period_of_more_than_a_year_is_refused(text: str) -> None:
    with pytest.raises(InvalidRate, match="at most 366 days"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["0/minute", "1000000000001/minute"])
def test_an_amount_that_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(InvalidRate, match="1 to 1,000,000,000,000 images"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "images", "period_s"),
    [
        ("600/minute", 600, 60),
        ("10 per second", 10, 1),
        ("5000/12 hours", 5000, 12 * 3600),
        (" 7 / 366days ", 7, 366 * 86400),
        ("1PER2Minutes", 1, 120),
    ],
)
def test_one_limit_is_read_in_any_of_its_forms(text: str, images: int, period_s: int) -> None:
    item = parse_rate(text)
    assert item is not None
    assert (item.amount, item.get_expiry()) == (images, period_s)


def test_no_rate_is_no_limit() -> None:
    assert asyncio.run(RateLimits().spend("k", "", 10_000)) == {}


def test_images_are_counted_and_not_requests(clock: Clock) -> None:
    async def story() -> None:
        limits = RateLimits()
        headers = await limits.spend("k", "10/minute", 6)
        assert headers[Header.REMAINING_IMAGES] == "4"
        with pytest.raises(RateLimited):
            await limits.spend("k", "10/minute", 5)
        headers = await limits.spend("k", "10/minute", 4)
        assert headers[Header.REMAINING_IMAGES] == "0"

    asyncio.run(story())


def test_keys_have_windows_of_their_own(clock: Clock) -> None:
    async def story() -> None:
        limits = RateLimits()
        await limits.spend("a", "2/minute", 2)
        await limits.spend("b", "2/minute", 2)
        with pytest.raises(RateLimited):
            await limits.spend("a", "2/minute", 1)

    asyncio.run(story())


def test_more_than_a_window_ever_admits_is_not_an_endless_429(clock: Clock) -> None:
    with pytest.raises(TooLarge, match="at once"):
        asyncio.run(RateLimits().spend("k", "5/second", 6))


def test_a_hundred_clients_at_once_get_exactly_the_limit(clock: Clock) -> None:
    async def story() -> int:
        limits = RateLimits()
        outcomes = await asyncio.gather(
            *(limits.spend("k", "5/minute", 1) for _ in range(100)), return_exceptions=True
        )
        return sum(isinstance(outcome, dict) for outcome in outcomes)

    assert asyncio.run(story()) == 5


@given(
    st.lists(st.tuples(st.integers(1, 8), st.floats(0.0, 40.0)), min_size=1, max_size=25),
    st.integers(1, 8),
)
def test_who_comes_back_when_told_is_admitted_and_not_much_earlier(
    history: list[tuple[int, float]], images: int
) -> None:
    """Whatever came before: at ``retry-after-ms`` the request passes, and 20 ms earlier it does not."""
    clock = Clock()

    async def story() -> None:
        limits = RateLimits()
        for earlier, pause_s in history:
            with contextlib.suppress(RateLimited):
                await limits.spend("k", "8/minute", earlier)
            clock.now_s += pause_s
        refusal = await refused(limits)
        if refusal is None:
            return
        told_s = int(refusal.headers[Header.RETRY_AFTER_MS]) / 1000
        start_s = clock.now_s
        clock.now_s = start_s + told_s - 0.02
        if told_s > 0.03:
            assert await refused(limits) is not None
        clock.now_s = start_s + told_s
        assert await refused(limits) is None

    async def refused(limits: RateLimits) -> RateLimited | None:
        try:
            await limits.spend("k", "8/minute", images)
        except RateLimited as refusal:
            return refusal
        return None

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(memory_storage, "time", clock)
        asyncio.run(story())


def test_the_wait_within_a_window_and_across_windows() -> None:
    fading = Window(10, 60.0, previous=10, previous_left_s=30.0, current=3, current_left_s=30.0)
    assert fading.remaining == 2
    assert fading.wait_s(2) == 0.0
    assert fading.wait_s(3) == pytest.approx(30.0 - 5 * 6.0 + 0.001)
    full = Window(10, 60.0, previous=0, previous_left_s=0.0, current=10, current_left_s=15.0)
    assert full.wait_s(10) == pytest.approx(15.0 + 60.0 - 6.0 + 0.001)
    empty = Window(10, 60.0, previous=0, previous_left_s=0.0, current=0, current_left_s=60.0)
    assert empty.wait_s(10) == 0.0


def test_a_refusal_carries_every_header(clock: Clock) -> None:
    async def story() -> Any:
        limits = RateLimits()
        await limits.spend("k", "2/minute", 2)
        with pytest.raises(RateLimited) as refusal:
            await limits.spend("k", "2/minute", 1)
        return refusal.value

    assert set(asyncio.run(story()).headers) == {
        Header.RETRY_AFTER,
        Header.RETRY_AFTER_MS,
        Header.LIMIT_IMAGES,
        Header.REMAINING_IMAGES,
        Header.RESET_IMAGES,
        Header.RATE_LIMIT,
        Header.RATE_LIMIT_POLICY,
    }
