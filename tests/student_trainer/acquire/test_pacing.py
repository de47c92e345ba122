"""Waiting as long as the server says, and no longer than a cap; backing off where it says nothing."""

import asyncio
import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.acquire.pacing import (
    LAST_BACKOFF_S,
    WAIT_CAP_S,
    Pacer,
    Stopped,
    StopSignal,
    backoff_s,
    duration_s,
    hinted_wait_s,
)

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12", 12.0), ("1.5s", 1.5), ("6m0s", 360.0), ("1h2m3s", 3723.0), ("20ms", 0.02), (" 3 ", 3.0)],
)
def test_durations_are_read_in_the_forms_that_servers_use(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1 2", "s", "1.5.2"])
def test_what_is_no_duration_is_not_guessed(text: str) -> None:
    assert duration_s(text) is None


@given(st.text())
def test_no_text_breaks_the_reading_of_a_duration(text: str) -> None:
    assert duration_s(text) is None or duration_s(text) >= 0  # type: ignore[operator]


def test_milliseconds_win_over_seconds_and_dates_are_understood() -> None:
    assert hinted_wait_s({"retry-after-ms": "250", "Retry-After": "9"}, NOW) == 0.25
    assert hinted_wait_s({"Retry-After": "9"}, NOW) == 9.0
    date = email.utils.formatdate(NOW + 30, usegmt=True)
    assert hinted_wait_s({"Retry-After": date}, NOW) == pytest.approx(30.0)
    assert hinted_wait_s({"Retry-After": email.utils.formatdate(NOW - 30, usegmt=True)}, NOW) == 0.0
    assert hinted_wait_s({"Retry-After": "soon"}, NOW) is None
    assert hinted_wait_s({}, NOW) is None


def test_a_server_that_asks_for_an_hour_is_asked_again_after_the_cap() -> None:
    assert hinted_wait_s({"Retry-After": "3600"}, NOW) == WAIT_CAP_S
    assert hinted_wait_s({"retry-after-ms": "3600000"}, NOW) == WAIT_CAP_S


def test_backing_off_doubles_up_to_the_cap() -> None:
    assert [backoff_s(n) for n in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert backoff_s(60) == LAST_BACKOFF_S


class Clock:
    """Time that only passes by sleeping."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def pacer(self, spread: float = 0.0) -> Pacer:
        return Pacer(self.sleep, lambda: self.now_s, lambda: spread)


def test_one_refusal_holds_back_every_request() -> None:
    clock = Clock()
    pacer = clock.pacer()
    pacer.hold_all(5.0)
    pacer.hold_all(2.0)  # a shorter wait does not cut the longer one
    asyncio.run(pacer.turn())
    assert clock.slept == [5.0]
    asyncio.run(pacer.turn())
    assert clock.slept == [5.0]


def test_waits_are_spread_so_that_requests_do_not_return_together() -> None:
    clock = Clock()
    asyncio.run(clock.pacer(spread=1.0).pause(10.0))
    assert clock.slept == [12.0]


@pytest.mark.parametrize(
    ("remaining", "reset", "waits"),
    [("3", "2s", [2.0]), ("4", "2s", []), ("0", "600s", [60.0]), ("", "2s", []), ("0", "", [])],
)
def test_a_rate_limit_that_is_used_up_holds_the_next_request_back(
    remaining: str, reset: str, waits: list[float]
) -> None:
    clock = Clock()
    pacer = clock.pacer()
    headers = {"x-ratelimit-remaining-requests": remaining, "x-ratelimit-reset-requests": reset}
    pacer.observe(headers, images=4)
    asyncio.run(pacer.turn())
    assert clock.slept == waits


def test_a_stop_wakes_whoever_waits_and_lets_nobody_wait_again() -> None:
    async def run() -> None:
        stop = StopSignal()
        sleeper = asyncio.create_task(stop.sleep(3600))
        await asyncio.sleep(0)
        stop.set()
        with pytest.raises(Stopped):
            await sleeper
        with pytest.raises(Stopped):
            await stop.sleep(3600)
        await stop.wait()

    asyncio.run(run())
