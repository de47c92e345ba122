"""The turnstile: one request at a time for each image of a key, without deadlock and without leaks."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher_service.access.turnstile import Ticket, Turnstile


def ticket(name: object) -> Ticket:
    return ("key", "revision", str(name))


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 3), st.booleans()),
        max_size=20,
    )
)
def test_no_ticket_is_held_twice_and_everyone_gets_through(
    requests: list[tuple[list[int], int, bool]],
) -> None:
    """Requests overlap in any order, take any time, and some are cancelled anywhere on their way."""

    async def story() -> None:
        turnstile = Turnstile()
        inside: set[int] = set()

        async def request(names: list[int], turns: int) -> None:
            async with turnstile.passage([ticket(name) for name in names]):
                assert not inside & set(names)
                inside.update(names)
                try:
                    for _ in range(turns):
                        await asyncio.sleep(0)
                finally:
                    inside.difference_update(names)

        tasks = [asyncio.ensure_future(request(names, turns)) for names, turns, _ in requests]
        for task, (_, turns, cancelled) in zip(tasks, requests, strict=True):
            for _ in range(turns):
                await asyncio.sleep(0)
            if cancelled:
                task.cancel()
        outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=10)
        for outcome, (_, _, cancelled) in zip(outcomes, requests, strict=True):
            assert outcome is None or (cancelled and isinstance(outcome, asyncio.CancelledError))
        assert len(turnstile) == 0

    asyncio.run(story())


def test_the_first_to_wait_is_the_first_to_pass() -> None:
    async def story() -> list[int]:
        turnstile, passed = Turnstile(), []

        async def request(number: int) -> None:
            async with turnstile.passage([ticket("a")]):
                await asyncio.sleep(0)
                passed.append(number)

        await asyncio.gather(*(request(number) for number in range(10)))
        return passed

    assert asyncio.run(story()) == list(range(10))


def test_other_keys_and_other_revisions_do_not_wait() -> None:
    async def story() -> None:
        turnstile = Turnstile()
        first, others = [("a", "r", "x")], [("b", "r", "x"), ("a", "s", "x")]
        async with asyncio.timeout(5), turnstile.passage(first), turnstile.passage(others):
            assert len(turnstile) == 3

    asyncio.run(story())


def test_an_error_inside_lets_the_next_one_in() -> None:
    async def story() -> None:
        turnstile = Turnstile()
        with pytest.raises(RuntimeError):
            async with turnstile.passage([ticket(1), ticket(2)]):
                raise RuntimeError
        async with asyncio.timeout(5), turnstile.passage([ticket(2), ticket(1)]):
            pass
        assert len(turnstile) == 0

    asyncio.run(story())


def test_a_cancellation_at_the_moment_of_entry_passes_the_turn_on() -> None:
    async def story() -> None:
        turnstile = Turnstile()

        async def enter() -> None:
            async with turnstile.passage([ticket(1)]):
                pass

        first = turnstile.passage([ticket(1)])
        await first.__aenter__()
        second, third = asyncio.ensure_future(enter()), asyncio.ensure_future(enter())
        await asyncio.sleep(0)
        await first.__aexit__(None, None, None)  # wakes the second ...
        second.cancel()  # ... which is cancelled before it runs
        await asyncio.wait_for(third, 5)
        with pytest.raises(asyncio.CancelledError):
            await second
        assert len(turnstile) == 0

    asyncio.run(story())
