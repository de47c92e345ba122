"""A body that stalls or trickles is given up, and nothing else is."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from teacher_service.admission.pace import Pace, take_at_pace
from teacher_service.errors import TooSlow


class Sender:
    """Sends chunks, each after so many seconds of a clock of its own."""

    def __init__(self, *steps: tuple[float, int]) -> None:
        self._steps = steps
        self.now_s = 1000.0

    async def chunks(self) -> AsyncIterator[bytes]:
        for pause_s, size in self._steps:
            self.now_s += pause_s
            yield bytes(size)


def received(sender: Sender, pace: Pace) -> int:
    taken: list[bytes] = []
    asyncio.run(take_at_pace(sender.chunks(), pace, taken.append, lambda: sender.now_s))
    return sum(map(len, taken))


def test_a_body_that_keeps_the_pace_arrives_whole() -> None:
    sender = Sender(*[(10.0, 1000)] * 50)
    assert received(sender, Pace(silence_s=30, least_bytes_per_s=100)) == 50_000


def test_a_body_that_trickles_is_given_up_once_its_grace_has_passed() -> None:
    sender = Sender(*[(1.0, 1)] * 1000)
    with pytest.raises(
        TooSlow, match=r"31 bytes in 31\.0 s.*at least 100 bytes a second.*Nothing was charged"
    ):
        received(sender, Pace(silence_s=30, least_bytes_per_s=100))
    assert sender.now_s == 1031.0, "nothing more was read"


def test_a_slow_start_is_made_up_for_by_what_follows() -> None:
    sender = Sender((29.0, 10), (0.5, 10_000), (29.0, 10), (29.0, 10))
    assert received(sender, Pace(silence_s=30, least_bytes_per_s=100)) == 10_030


def test_any_rate_may_be_allowed() -> None:
    sender = Sender(*[(29.0, 1)] * 1000)
    assert received(sender, Pace(silence_s=30, least_bytes_per_s=0)) == 1000


@pytest.mark.parametrize("least", [0, 1])
def test_silence_is_given_up_by_itself(least: int) -> None:
    """Nothing arrives that could be looked at: the wait itself ends."""

    async def stalling() -> AsyncIterator[bytes]:
        yield b"x" * 100
        await asyncio.Event().wait()

    async def story() -> None:
        with pytest.raises(TooSlow, match=r"100 bytes in .* no pause of 0\.01 s"):
            await take_at_pace(stalling(), Pace(silence_s=0.01, least_bytes_per_s=least), len)

    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_client_that_leaves_is_no_slow_one() -> None:
    class Gone(Exception):
        pass

    async def leaving() -> AsyncIterator[bytes]:
        yield b"x"
        raise Gone

    with pytest.raises(Gone):
        asyncio.run(take_at_pace(leaving(), Pace(30, 100), len))


def test_what_is_left_is_the_silence_or_what_the_rate_leaves() -> None:
    pace = Pace(silence_s=30, least_bytes_per_s=100)
    assert pace.left_s(0, 0) == 30
    assert pace.left_s(20, 0) == 10
    assert pace.left_s(20, 2000) == 30
    assert pace.left_s(31, 0) < 0
