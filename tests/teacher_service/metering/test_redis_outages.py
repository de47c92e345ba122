"""Invariant 5 on Redis: a server that is away, silent, full or not to be written means LedgerUnavailable.

Nothing is delivered meanwhile, nothing is half written, and the same ledger goes on afterwards.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from redis_process import RedisProcess
from redis_replicas import account, buy, new_key, replica, reserve, settle, until
from tcp_proxy import TcpProxy

from shared.chain import Billing
from teacher_service.access.keys import mint
from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.ledger import BudgetChanged, LedgerUnavailable
from teacher_service.metering.redis.connection import ANSWER_TIMEOUT_S
from teacher_service.metering.redis.store import RedisLedger

PASSWORD = "open-sesame-9f2c"


@pytest.fixture
def redis(start_redis: Callable[..., RedisProcess]) -> Iterator[RedisProcess]:
    """A server of this test's own, to be ill-treated."""
    server = start_redis()
    yield server
    server.stop()


async def refused(work: Awaitable[Any], *words: str) -> str:
    with pytest.raises(LedgerUnavailable) as caught:
        await work
    assert all(word in str(caught.value) for word in words), caught.value
    return str(caught.value)


async def all_refused(ledger: RedisLedger, key: str, *words: str) -> None:
    """Every operation that a request or an administrator may ask for now."""
    _, new = mint("b", 1)
    for work in (
        reserve(ledger, key, "new"),
        ledger.create_key(new),
        ledger.grant(key, 1),
        ledger.revoke(key),
    ):
        await refused(work, *words)


class TestAway:
    def test_a_killed_server_is_told_from_a_restarted_one_and_nothing_is_lost(
        self, redis: RedisProcess
    ) -> None:
        async def story() -> None:
            async with replica(redis.url) as ledger:
                key = await new_key(ledger)
                await buy(ledger, key, "a")
                hold = await reserve(ledger, key, "b")
                redis.kill()
                await all_refused(ledger, key, "cannot be reached")
                for work in (settle(ledger, hold), ledger.key(key), ledger.links(key), ledger.ping()):
                    await refused(work, "cannot be reached")
                redis.start()
                assert (await settle(ledger, hold)).used_after == 2
                assert (await buy(ledger, key, "c")).used_after == 3
                await verify_store(ledger)

        asyncio.run(story())

    def test_a_silent_server_is_given_up_in_time_and_taken_up_again(self, redis: RedisProcess) -> None:
        """SIGSTOP: it takes connections and says nothing. What it was sent it may carry out later."""

        async def timed(work: Awaitable[Any]) -> float:
            began_s = time.monotonic()
            await refused(work, "Timeout")
            return time.monotonic() - began_s

        async def story() -> None:
            async with replica(redis.url) as ledger:
                key = await new_key(ledger)
                await buy(ledger, key, "a")
                hold = await reserve(ledger, key, "b")
                redis.pause()
                took_s = await asyncio.gather(
                    timed(settle(ledger, hold)), timed(reserve(ledger, key, "c")), timed(ledger.ping())
                )
                assert max(took_s) < 2 * ANSWER_TIMEOUT_S + 1, "its own exchange, and the one before"
                redis.resume()
                assert (await buy(ledger, key, "d")).charged == 1

                async def calm() -> bool:
                    key_now = await account(ledger, key)
                    return key_now.held == (0 if key_now.used == 3 else 1)

                await until(calm)  # the settlement is charged or not; the reservation is given back
                if (await account(ledger, key)).used == 2:
                    await settle(ledger, hold)
                assert (await buy(ledger, key, "b", "c")).used_after == 4
                await verify_store(ledger)

        asyncio.run(story())

    def test_nobody_waits_longer_for_a_silent_server_because_many_wait(self, redis: RedisProcess) -> None:
        async def story() -> None:
            async with replica(redis.url, serve=False) as ledger:
                key = await new_key(ledger, 1000)
                redis.pause()
                began_s = time.monotonic()
                outcomes = await asyncio.gather(
                    *(reserve(ledger, key, f"{n}") for n in range(400)), return_exceptions=True
                )
                took_s = time.monotonic() - began_s
                redis.resume()
                assert {type(outcome) for outcome in outcomes} == {LedgerUnavailable}
                assert took_s < 2 * ANSWER_TIMEOUT_S + 1

        asyncio.run(story())

    def test_a_server_that_still_loads_its_data_is_unavailable(
        self, start_redis: Callable[..., RedisProcess]
    ) -> None:
        async def story() -> None:
            redis = start_redis(**{"key-load-delay": "4000", "loading-process-events-interval-bytes": "1024"})
            async with replica(redis.url) as ledger:
                key = await new_key(ledger)
                await buy(ledger, key, "a")
                with redis.client() as client:
                    client.mset({f"ballast{n}": "x" * 100 for n in range(300)})
                    client.bgrewriteaof()

                    async def rewritten() -> bool:
                        state: Any = client.info("persistence")
                        return not (state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])

                    await until(rewritten)
                redis.kill()
                starting = asyncio.create_task(asyncio.to_thread(redis.start))
                reasons = set()
                while not starting.done():
                    try:
                        await buy(ledger, key, "b")
                    except LedgerUnavailable as error:
                        reasons.add("loading" in str(error).lower())
                    await asyncio.sleep(0.01)
                await starting
                assert True in reasons, "it was asked while it loaded"
                assert (await buy(ledger, key, "b", "c")).used_after == 3
                await verify_store(ledger)
            redis.stop()

        asyncio.run(story())


class TestNotToBeWritten:
    @pytest.mark.parametrize("billing", ["distinct", "every-call"])
    def test_a_full_memory_refuses_new_holds_and_leaves_nothing_half_written(
        self, redis: RedisProcess, billing: Billing
    ) -> None:
        async def story() -> None:
            async with replica(redis.url, lease_ms=60_000) as ledger, replica(redis.url, lease_ms=1) as other:
                key = await new_key(ledger, 20, billing)
                await buy(ledger, key, "a")
                holds = [await reserve(ledger, key, f"{n}", idem=f"call {n}") for n in range(4)]
                await reserve(other, key, "expired", idem="expired")
                replay = await reserve(ledger, key, "a", "z", idem="call")
                with redis.client() as client:
                    client.config_set("maxmemory", "1mb")
                    await ledger.sweep()
                    assert (await account(ledger, key)).held == 5 + (billing == "every-call")
                    await all_refused(ledger, key, "maxmemory")
                    await refused(ledger.ping(), "maxmemory")
                    outcomes = await asyncio.gather(
                        *(settle(ledger, hold) for hold in holds[:2]), return_exceptions=True
                    )
                    await ledger.release(holds[2])
                    charged = sum(not isinstance(outcome, Exception) for outcome in outcomes)
                    assert (await account(ledger, key)).used == 1 + charged
                    client.config_set("maxmemory", "0")
                await verify_store(ledger)
                for hold in (holds[3], replay):
                    await settle(ledger, hold)
                assert (await buy(ledger, key, "2", "expired")).charged == 2
                await verify_store(ledger)

        asyncio.run(story())

    def test_a_server_that_became_a_replica_is_unavailable(
        self, redis: RedisProcess, start_redis: Callable[..., RedisProcess]
    ) -> None:
        async def story() -> None:
            async with replica(redis.url) as ledger:
                key = await new_key(ledger)
                await buy(ledger, key, "a")
                hold, again = await reserve(ledger, key, "b"), await reserve(ledger, key, "a")
                with redis.client() as client:
                    client.replicaof("127.0.0.1", 1)  # nobody is there: it keeps what it has
                    await all_refused(ledger, key, "read only replica")
                    for work in (settle(ledger, hold), settle(ledger, again), ledger.ping()):
                        await refused(work, "read only replica")
                    client.replicaof("NO", "ONE")
                assert (await settle(ledger, hold)).charged == 1
                assert (await settle(ledger, again)).charged == 0
                await verify_store(ledger)

        asyncio.run(story())


class TestPasswords:
    def test_a_server_that_asks_for_a_password_is_refused_without_one(
        self, start_redis: Callable[..., RedisProcess]
    ) -> None:
        async def story() -> None:
            redis = start_redis()
            with redis.client() as client:
                client.config_set("requirepass", PASSWORD)
                await refused(RedisLedger(redis.url).open(), "Authentication required")
                right = redis.url.replace("redis://", f"redis://:{PASSWORD}@")
                async with replica(right) as ledger:
                    await buy(ledger, await new_key(ledger), "a")

        asyncio.run(story())

    def test_no_message_repeats_the_password_of_the_url(self, redis: RedisProcess) -> None:
        async def story() -> None:
            with redis.client() as client:
                client.config_set("requirepass", "another")
            messages = []
            url = redis.url.replace("redis://", f"redis://ledger:{PASSWORD}@")
            messages.append(await refused(RedisLedger(url).open(), "username-password"))
            redis.kill()
            messages.append(await refused(RedisLedger(url).open(), "cannot be reached", str(redis.port)))
            for odd in (f"redis://:{PASSWORD}@host:port/0", f"redis://:{PASSWORD}/x@host:6379/0"):
                with pytest.raises(ValueError, match="percent") as caught:
                    RedisLedger(odd)
                messages.append(str(caught.value))
            assert not [message for message in messages if PASSWORD in message]

        asyncio.run(story())


class TestLostAnswers:
    @pytest.mark.parametrize(("billing", "idem"), [("distinct", None), ("every-call", "call")])
    def test_a_settlement_whose_answer_is_lost_is_charged_once_and_the_retry_is_free(
        self, redis: RedisProcess, billing: Billing, idem: str | None
    ) -> None:
        """Invariant 4. The caller is told that nothing was delivered; it releases, and asks again."""

        async def story() -> None:
            with TcpProxy(redis.port) as proxy:
                async with replica(f"redis://127.0.0.1:{proxy.port}/0") as ledger:
                    key = await new_key(ledger, 5, billing)
                    await buy(ledger, key, "before", idem=idem and "before")
                    hold = await reserve(ledger, key, "a", "b", idem=idem)
                    proxy.lose_answer()
                    await refused(settle(ledger, hold), "nothing was delivered")
                    assert proxy.lost == 1
                    await ledger.release(hold)
                    again = await buy(ledger, key, "a", "b", idem=idem)
                    assert (again.charged, again.replayed, again.used_after) == (0, 2, 3)
                    assert (await account(ledger, key)).held == 0
                    await verify_store(ledger)

        asyncio.run(story())

    def test_a_replay_whose_answer_is_lost_can_be_settled_again(self, redis: RedisProcess) -> None:
        async def story() -> None:
            with TcpProxy(redis.port) as proxy:
                async with replica(f"redis://127.0.0.1:{proxy.port}/0") as ledger:
                    key = await new_key(ledger)
                    await buy(ledger, key, "a")
                    hold = await reserve(ledger, key, "a")
                    proxy.lose_answer()
                    await refused(settle(ledger, hold))
                    assert (await settle(ledger, hold)).used_after == 1
                    await verify_store(ledger)

        asyncio.run(story())

    def test_a_grant_whose_answer_is_lost_is_not_made_again_under_the_same_expected_budget(
        self, redis: RedisProcess
    ) -> None:
        async def story() -> None:
            with TcpProxy(redis.port) as proxy:
                async with replica(f"redis://127.0.0.1:{proxy.port}/0", serve=False) as ledger:
                    key = await new_key(ledger, 10)
                    await ledger.grant(key, 1)
                    proxy.lose_answer(after=1)  # the first tells the budget before
                    await refused(ledger.grant(key, 5, expected_budget=11))
                    with pytest.raises(BudgetChanged, match="it may have been made before"):
                        await ledger.grant(key, 5, expected_budget=11)
                    assert (await account(ledger, key)).budget == 16
                    await verify_store(ledger)

        asyncio.run(story())
