"""Holds on Redis are leases: a living replica prolongs them, and those of a killed one end.

What nobody waits for any more is given back.
"""

import asyncio
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import lifeline
import pytest
from redis_process import RedisProcess
from redis_replicas import (
    account,
    buy,
    digest,
    new_key,
    replica,
    replicas,
    reservation,
    reserve,
    settle,
    until,
)
from tcp_proxy import TcpProxy

from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.ledger import Hold, HoldExpired, Ledger, LedgerUnavailable
from teacher_service.metering.redis.live_holds import MAX_LIFE_MS, LiveHolds

SHORT_MS = 300
"""Living replicas prolong it every 100 ms of their own time, while the server's stands still."""
OTHERS_LEASE_MS = 1000


@pytest.fixture
def url(redis_server: RedisProcess) -> str:
    """An empty Redis."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


class StandingServer:
    """A server whose time passes when the test says so: no lease ends because the machine was busy."""

    def __init__(self, server: RedisProcess, clock: Any) -> None:
        self._server, self._clock = server, clock
        self.options = {"clock": clock, "time_lua": "return tonumber(redis.call('GET', 'test:now_ms'))"}
        self.advance(0)

    def advance(self, by_ms: int) -> None:
        self._clock.now_ms += by_ms
        with self._server.client() as client:
            client.set("test:now_ms", self._clock.now_ms)

    async def prolonged(self, hold: Hold) -> None:
        """Until its lease is as long again as it can be now."""
        await prolonged(self._server, hold, past_ms=self._clock.now_ms + SHORT_MS - 1)


@pytest.fixture
def standing(url: str, redis_server: RedisProcess, clock: Any) -> StandingServer:
    """``url`` with a time of its own."""
    return StandingServer(redis_server, clock)


def lease_ends_ms(server: RedisProcess, hold_id: str, key: str) -> float:
    with server.client() as client:
        ends_ms = client.zscore(f"ration:{{{key}}}:leases", hold_id)
    assert ends_ms is not None, "the lease has ended"
    return ends_ms


async def prolonged(server: RedisProcess, hold: Hold, past_ms: int) -> None:
    """Until its lease ends after a moment."""

    async def done() -> bool:
        return lease_ends_ms(server, hold.hold_id, hold.reservation.key_id) > past_ms

    await until(done)


def server_now_ms(server: RedisProcess) -> int:
    with server.client() as client:
        seconds, microseconds = client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def past(server: RedisProcess, at_ms: int) -> None:
    """Until the server's clock has passed a moment."""

    async def passed() -> bool:
        return server_now_ms(server) > at_ms

    await until(passed)


async def nothing_held(ledger: Ledger, key: str) -> None:
    async def given_back() -> bool:
        return (await account(ledger, key)).held == 0

    await until(given_back)


class TestLeases:
    def test_a_living_replica_prolongs_what_its_requests_hold(
        self, url: str, standing: StandingServer
    ) -> None:
        async def story() -> None:
            async with replicas(url, 2, lease_ms=SHORT_MS, **standing.options) as (one, other):
                key = await new_key(one, 2)
                hold = await reserve(one, key, "a", "b")
                for _ in range(3):
                    standing.advance(SHORT_MS - 1)
                    await standing.prolonged(hold)
                await other.sweep()
                assert (await account(other, key)).held == 2
                assert (await settle(one, hold)).charged == 2

        asyncio.run(story())

    def test_a_replay_outlives_its_first_lease_too_while_its_replica_lives(
        self, url: str, standing: StandingServer
    ) -> None:
        """What is paid but no longer cached is computed anew, and that may take longer than a lease."""

        async def story() -> None:
            async with replica(url, lease_ms=SHORT_MS, **standing.options) as ledger:
                key = await new_key(ledger)
                await buy(ledger, key, "a")
                hold = await reserve(ledger, key, "a")
                standing.advance(SHORT_MS + 1)
                settled = await settle(ledger, hold)
                assert (settled.charged, settled.replayed) == (0, 1)
                with pytest.raises(HoldExpired):
                    await settle(ledger, hold)

        asyncio.run(story())

    def test_the_holds_of_a_killed_replica_end_with_their_leases(
        self, url: str, redis_server: RedisProcess
    ) -> None:
        async def story() -> None:
            async with replica(url) as ledger:
                key = await new_key(ledger, 2)
                async with held_in_another_process(url, key) as hold:
                    await prolonged(redis_server, hold, past_ms=hold.expires_at_ms)
                assert (await account(ledger, key)).held == 2
                await past(redis_server, server_now_ms(redis_server) + OTHERS_LEASE_MS)
                assert (await buy(ledger, key, "a", "b")).charged == 2
                await verify_store(ledger)

        asyncio.run(story())

    def test_what_nobody_prolongs_cannot_be_settled_once_its_lease_has_ended(
        self, url: str, redis_server: RedisProcess
    ) -> None:
        async def story() -> None:
            async with replica(url, lease_ms=50, serve=False) as ledger:
                key = await new_key(ledger)
                hold = await reserve(ledger, key, "a")
                await past(redis_server, hold.expires_at_ms)
                with pytest.raises(HoldExpired):
                    await settle(ledger, hold)
                await verify_store(ledger)

        asyncio.run(story())

    def test_a_lease_that_has_ended_is_not_prolonged(self, url: str, redis_server: RedisProcess) -> None:
        """Another request may have been told already that its image is free."""

        async def story() -> None:
            async with replica(url, lease_ms=50, serve=False) as ledger:
                key = await new_key(ledger)
                hold = await reserve(ledger, key, "a")
                leases = f"ration:{{{key}}}:leases"
                await past(redis_server, hold.expires_at_ms)
                await ledger._connection.run("renew", (leases,), (60_000, hold.hold_id, "gone"))
                with redis_server.client() as client:
                    assert client.zrange(leases, 0, -1, withscores=True) == [
                        (hold.hold_id.encode(), float(hold.expires_at_ms))
                    ]

        asyncio.run(story())


@asynccontextmanager
async def held_in_another_process(url: str, key: str) -> AsyncIterator[Hold]:
    """A hold on two images, of a replica that is killed in the end."""
    script = f"""
        import asyncio
        from teacher_service.metering.ledger import Reservation
        from teacher_service.metering.redis.store import RedisLedger
        async def main():
            ledger = RedisLedger({url!r}, lease_ms={OTHERS_LEASE_MS})
            await ledger.open()
            images = ({digest("a")!r}, {digest("b")!r})
            hold = await ledger.reserve(Reservation({key!r}, "r", {digest("teacher")!r}, images))
            print(hold.hold_id, hold.expires_at_ms, flush=True)
            await asyncio.Event().wait()
        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with lifeline.start(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            hold_id, expires_at_ms = process.stdout.readline().split()
            yield Hold(hold_id, reservation(key, "a", "b"), frozenset(), int(expires_at_ms))
        finally:
            process.send_signal(signal.SIGKILL)


class TestGivingBack:
    def test_a_reserve_whose_answer_was_lost_is_given_back(
        self, url: str, redis_server: RedisProcess
    ) -> None:
        """Long before its lease ends."""

        async def story() -> None:
            with TcpProxy(redis_server.port) as proxy:
                async with replica(url) as beside, replica(f"redis://127.0.0.1:{proxy.port}/0") as ledger:
                    key = await new_key(ledger, 3)
                    await buy(ledger, key, "before")
                    proxy.lose_answer()
                    with pytest.raises(LedgerUnavailable):
                        await reserve(ledger, key, "a", "b")
                    assert proxy.lost == 1
                    assert (await account(beside, key)).held == 2, "the store has it all the same"
                    await nothing_held(beside, key)
                    assert (await buy(ledger, key, "a", "b")).charged == 2

        asyncio.run(story())

    def test_a_release_while_redis_is_down_is_done_later(
        self, start_redis: Callable[..., RedisProcess]
    ) -> None:
        async def story() -> None:
            server = start_redis()
            async with replica(server.url) as ledger:
                key = await new_key(ledger, 2)
                hold = await reserve(ledger, key, "a", "b")
                server.kill()
                with pytest.raises(LedgerUnavailable):
                    await ledger.release(hold)
                server.start()
                assert (await account(ledger, key)).held == 2
                await nothing_held(ledger, key)
                with pytest.raises(HoldExpired):
                    await settle(ledger, hold)
            server.stop()

        asyncio.run(story())

    def test_closing_gives_back_what_could_not_be_given_back_before(
        self, url: str, redis_server: RedisProcess
    ) -> None:
        async def story() -> None:
            with TcpProxy(redis_server.port) as proxy:
                async with replica(f"redis://127.0.0.1:{proxy.port}/0") as ledger:
                    key = await new_key(ledger, 3)
                    await buy(ledger, key, "before")
                    proxy.lose_answer()
                    with pytest.raises(LedgerUnavailable):
                        await reserve(ledger, key, "a", "b")
            async with replica(url) as ledger:
                assert (await account(ledger, key)).held == 0

        asyncio.run(story())

    def test_a_release_that_is_cut_off_is_done_by_the_next_turn_of_the_upkeep(self, url: str) -> None:
        """Else its lease would be prolonged for nobody."""

        async def story() -> None:
            async with replica(url) as ledger:
                key = await new_key(ledger)
                hold = await reserve(ledger, key, "a")
                releasing = asyncio.create_task(ledger.release(hold))
                await asyncio.sleep(0)
                releasing.cancel()
                await asyncio.gather(releasing, return_exceptions=True)
                await nothing_held(ledger, key)

        asyncio.run(story())

    def test_a_request_that_leaves_while_it_waits_for_its_hold_leaves_none(self, url: str) -> None:
        async def story() -> None:
            async with replica(url, serve=False) as ledger:
                key = await new_key(ledger, 100)
                for turns in range(40):  # cut off at each of the first turns of the event loop
                    request = asyncio.create_task(ledger.reserve(reservation(key, f"{turns}")))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    if request.done():
                        await ledger.release(request.result())
                    request.cancel()
                    await asyncio.gather(request, return_exceptions=True)
                await nothing_held(ledger, key)

        asyncio.run(story())


class TestLiveHolds:
    @staticmethod
    def hold(name: str) -> Hold:
        return Hold(name, reservation("k", name), frozenset(), 0)

    def test_a_hold_is_prolonged_when_its_turn_comes_and_not_before(self) -> None:
        live = LiveHolds(lease_ms=300)
        live.begin(self.hold("a"), 0)
        live.begin(self.hold("b"), 50)
        assert live.to_prolong(99) == {}
        assert live.to_prolong(100) == {"k": ["a"]}
        assert live.to_prolong(160) == {"k": ["b"]}
        live.end(self.hold("a"))
        assert live.to_prolong(1000) == {"k": ["b"]}

    def test_a_request_that_never_ends_is_given_up(self) -> None:
        live = LiveHolds(lease_ms=300)
        live.begin(self.hold("a"), 0)
        assert live.to_prolong(MAX_LIFE_MS) == {"k": ["a"]}
        assert live.to_prolong(MAX_LIFE_MS + 200) == {}

    def test_what_is_abandoned_is_prolonged_no_more_and_stays_until_it_has_ended(self) -> None:
        live = LiveHolds(lease_ms=300)
        live.begin(self.hold("a"), 0)
        live.abandon(self.hold("a"), 0)
        assert live.to_prolong(1000) == {}
        assert live.abandoned(0) == {"k": ["a"]}
        live.end(self.hold("a"))
        assert live.abandoned(0) == {}

    def test_what_is_abandoned_is_forgotten_once_its_lease_must_have_ended(self) -> None:
        """An outage must not leave a backlog that grows with the requests it refused."""
        live = LiveHolds(lease_ms=300)
        for name in ("a", "b"):
            live.abandon(self.hold(name), 0)
        live.given_back(["a", "nobody's"])
        assert live.abandoned(599) == {"k": ["b"]}
        assert live.abandoned(600) == {}
