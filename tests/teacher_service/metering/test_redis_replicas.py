"""Several replicas on one Redis: exact under any crowd, and many settlements in one script."""

import asyncio
import itertools
import random
from collections.abc import Callable

import pytest
from redis_process import RedisProcess
from redis_replicas import account, buy, new_key, replica, replicas, reserve, settle

from shared.chain import Billing, verify_chain
from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.ledger import (
    BudgetExhausted,
    HoldExpired,
    InFlight,
    KeyRevoked,
    Ledger,
    LedgerUnavailable,
    Settlement,
)
from teacher_service.metering.redis.store import RedisLedger


@pytest.fixture
def url(redis_server: RedisProcess) -> str:
    """An empty Redis."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


def scripts_run(server: RedisProcess) -> int:
    """How many scripts the server has carried out since its counters were reset."""
    with server.client() as client:
        calls = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    assert isinstance(calls, int)
    return calls


def reset_counters(server: RedisProcess) -> None:
    with server.client() as client:
        client.config_resetstat()


async def assert_sound(ledger: RedisLedger, key_id: str, settled: list[Settlement]) -> None:
    """Invariants 1 and 3, and every settlement that a caller was told of stands on the chain, once."""
    await verify_store(ledger)
    links = await ledger.links(key_id)
    assert sorted(settlement.seq for settlement in settled) == [
        link.record["seq"] for link in links if link.record["kind"] == "settle"
    ]
    by_seq = {link.record["seq"]: link for link in links}
    assert all(by_seq[settlement.seq] == settlement.link for settlement in settled)
    key = await account(ledger, key_id)
    assert key.used == sum(settlement.charged for settlement in settled)
    assert key.used_in_window + key.held <= key.budget


class TestExactSpending:
    def test_a_crowd_spends_the_most_that_whole_requests_allow_and_never_more(self, url: str) -> None:
        """Invariant 1: 100 queries in requests of 3 are 33 requests, whoever is faster."""

        async def student(ledger: RedisLedger, key: str, name: str) -> list[Settlement]:
            settled = []
            for request in itertools.count():
                try:
                    hold = await reserve(ledger, key, *(f"{name} {request} {k}" for k in range(3)))
                except BudgetExhausted as refusal:
                    if refusal.remaining >= 3 or (await account(ledger, key)).held == 0:
                        return settled
                    continue
                if (request + len(name)) % 5 == 0:  # some requests fail
                    await ledger.release(hold)
                else:
                    settled.append(await settle(ledger, hold))
            raise AssertionError("unreachable")

        async def story() -> None:
            async with replicas(url, 3) as ledgers:
                key = await new_key(ledgers[0], 100)
                students = [
                    student(ledger, key, f"{place}{'.' * n}")
                    for place, ledger in enumerate(ledgers)
                    for n in range(8)
                ]
                settled = list(itertools.chain.from_iterable(await asyncio.gather(*students)))
                assert sum(settlement.charged for settlement in settled) == 99
                await assert_sound(ledgers[0], key, settled)
                assert (await account(ledgers[1], key)).held == 0

        asyncio.run(story())

    def test_an_image_that_all_want_at_once_costs_one_query(self, url: str) -> None:
        async def student(ledger: RedisLedger, key: str) -> Settlement:
            while True:
                try:
                    return await buy(ledger, key, "the image")
                except InFlight as refusal:
                    assert refusal.retry_after_ms > 0

        async def story() -> None:
            async with replicas(url, 3) as ledgers:
                key = await new_key(ledgers[0], 1)
                settled = await asyncio.gather(*(student(ledger, key) for ledger in ledgers * 6))
                assert sorted(settlement.charged for settlement in settled) == [0] * 17 + [1]
                await assert_sound(ledgers[2], key, settled)

        asyncio.run(story())

    @pytest.mark.parametrize("billing", ["distinct", "every-call"])
    def test_a_hold_that_is_settled_twice_at_once_is_charged_once(self, url: str, billing: Billing) -> None:
        async def story() -> None:
            async with replica(url) as ledger:
                key = await new_key(ledger, 5, billing)
                await buy(ledger, key, "before")  # the chain's end is known: both go into one script
                hold = await reserve(ledger, key, "a")
                outcomes = await asyncio.gather(
                    *(settle(ledger, hold) for _ in range(3)), return_exceptions=True
                )
                settled = [outcome for outcome in outcomes if isinstance(outcome, Settlement)]
                assert [settlement.charged for settlement in settled] == [1]
                assert [type(outcome) for outcome in outcomes].count(HoldExpired) == 2
                key_now = await account(ledger, key)
                assert (key_now.used, key_now.held) == (2, 0)
                await verify_store(ledger)

        asyncio.run(story())

    def test_a_grant_and_a_revocation_fall_between_settlements(self, url: str) -> None:
        """Whoever was told of a charge finds it on the chain before the revocation; nothing follows it."""
        settled: list[Settlement] = []

        async def student(ledger: RedisLedger, key: str, name: str) -> None:
            for request in itertools.count():
                try:
                    settled.append(await buy(ledger, key, f"{name} {request}"))
                except BudgetExhausted:
                    await asyncio.sleep(0)
                except KeyRevoked:
                    return

        async def story() -> None:
            async with replicas(url, 3) as ledgers:
                key = await new_key(ledgers[0], 40)
                crowd = asyncio.gather(
                    *(student(ledger, key, f"{k}") for k, ledger in enumerate(ledgers * 4))
                )
                while len(settled) < 20:
                    await asyncio.sleep(0.001)
                await asyncio.gather(*(ledger.grant(key, 20) for ledger in ledgers))
                while len(settled) < 60:
                    await asyncio.sleep(0.001)
                await ledgers[1].revoke(key)
                await crowd
                await assert_sound(ledgers[2], key, settled)
                kinds = [link.record["kind"] for link in await ledgers[0].links(key)]
                assert (kinds.count("grant"), kinds.count("revoke"), kinds[-1]) == (3, 1, "revoke")
                key_now = await account(ledgers[0], key)
                assert (key_now.budget, key_now.held, key_now.revoked) == (100, 0, True)

        asyncio.run(story())

    def test_grants_under_one_expected_budget_are_made_once_whoever_asks(self, url: str) -> None:
        async def story() -> None:
            async with replicas(url, 3) as ledgers:
                key = await new_key(ledgers[0], 10)
                grants = (ledger.grant(key, 5, expected_budget=10) for ledger in ledgers * 3)
                outcomes = await asyncio.gather(*grants, return_exceptions=True)
                assert [type(outcome).__name__ for outcome in outcomes].count("BudgetChanged") == 8
                assert (await account(ledgers[0], key)).budget == 15

        asyncio.run(story())

    def test_more_requests_at_once_than_a_pool_has_connections(self, url: str) -> None:
        async def story() -> None:
            async with replica(url) as ledger:
                key = await new_key(ledger, 300)
                settled = await asyncio.gather(*(buy(ledger, key, f"{n}") for n in range(300)))
                await assert_sound(ledger, key, settled)

        asyncio.run(story())


class TestGroupCommit:
    def test_a_burst_of_settlements_of_one_key_takes_few_scripts(
        self, url: str, redis_server: RedisProcess
    ) -> None:
        async def story() -> None:
            async with replica(url, serve=False) as ledger:
                key = await new_key(ledger, 300)
                holds = await asyncio.gather(*(reserve(ledger, key, f"{n}") for n in range(300)))
                reset_counters(redis_server)
                settled = await asyncio.gather(*(settle(ledger, hold) for hold in holds))
                assert scripts_run(redis_server) <= 8, "64 settlements go into one"
                assert [settlement.used_after for settlement in settled] == list(range(1, 301))
                assert {settlement.remaining for settlement in settled} == {0}
                await assert_sound(ledger, key, settled)

        asyncio.run(story())

    def test_a_mixed_burst_charges_each_as_it_would_have_been_alone(self, url: str) -> None:
        """Purchases, replays and calls with an idempotency key, of two revisions, in one burst."""

        async def story() -> None:
            async with replica(url) as ledger:
                key = await new_key(ledger, 50)
                settled = [await buy(ledger, key, "old")]
                holds = [
                    await reserve(ledger, key, "new"),
                    await reserve(ledger, key, "old"),
                    await reserve(ledger, key, "old", "newer"),
                    await reserve(ledger, key, "old", revision="retrained"),
                    await reserve(ledger, key, "old", idem="call"),
                    await reserve(ledger, key, "newest", idem="other call"),
                ]
                burst = await asyncio.gather(*(settle(ledger, hold) for hold in holds))
                assert [(one.charged, one.replayed) for one in burst] == [
                    (1, 0), (0, 1), (1, 1), (1, 0), (0, 1), (1, 0),
                ]  # fmt: skip
                await assert_sound(ledger, key, settled + list(burst))

        asyncio.run(story())

    def test_a_replica_whose_chain_end_is_old_is_refused_once_and_settles_then(
        self, url: str, redis_server: RedisProcess
    ) -> None:
        async def story() -> None:
            async with replicas(url, 2, serve=False) as (one, other):
                key = await new_key(one)
                hold = await reserve(one, key, "a")
                settled = [await buy(other, key, "b"), await buy(other, key, "c")]
                reset_counters(redis_server)
                settled.append(await settle(one, hold))
                assert scripts_run(redis_server) == 2
                assert [settlement.seq for settlement in settled] == [1, 2, 3]
                await assert_sound(one, key, settled)

        asyncio.run(story())

    def test_one_expired_hold_in_a_group_fails_alone(self, url: str) -> None:
        async def story() -> None:
            async with replicas(url, 2) as (one, other):
                key = await new_key(one)
                await buy(one, key, "before")
                holds = [await reserve(one, key, f"{n}") for n in range(4)]
                for gone in (holds[0], holds[2]):
                    await other.release(gone)
                outcomes = await asyncio.gather(
                    *(settle(one, hold) for hold in holds), return_exceptions=True
                )
                assert [type(outcome) for outcome in outcomes] == [
                    HoldExpired, Settlement, HoldExpired, Settlement,
                ]  # fmt: skip
                assert (await account(one, key)).used == 3
                await verify_store(one)

        asyncio.run(story())

    def test_a_caller_who_left_before_the_group_was_sent_is_not_charged(self, url: str) -> None:
        async def story() -> None:
            async with replica(url) as ledger:
                key = await new_key(ledger)
                holds = [await reserve(ledger, key, f"{n}") for n in range(3)]
                settling = [asyncio.create_task(settle(ledger, hold)) for hold in holds]
                await asyncio.sleep(0)
                settling[1].cancel()
                outcomes = await asyncio.gather(*settling, return_exceptions=True)
                assert isinstance(outcomes[1], asyncio.CancelledError)
                await ledger.release(holds[1])
                key_now = await account(ledger, key)
                assert (key_now.used, key_now.held) == (2, 0)
                await verify_store(ledger)

        asyncio.run(story())

    def test_closing_finishes_the_settlements_that_wait(self, url: str) -> None:
        async def story() -> None:
            ledger = RedisLedger(url)
            await ledger.open()
            key = await new_key(ledger, 200)
            holds = [await reserve(ledger, key, f"{n}") for n in range(150)]
            settling = [asyncio.create_task(settle(ledger, hold)) for hold in holds]
            await asyncio.sleep(0)
            await ledger.close()
            settled = await asyncio.gather(*settling)
            async with replica(url) as other:
                await assert_sound(other, key, settled)

        asyncio.run(story())

    def test_a_loop_that_is_shut_down_leaves_no_caller_without_an_answer(self, url: str) -> None:
        outcomes: list[BaseException] = []
        cut_off: list[asyncio.Task[None]] = []

        async def story() -> None:
            ledger = RedisLedger(url, serve=False)
            await ledger.open()
            key = await new_key(ledger)
            hold = await reserve(ledger, key, "a")

            async def request() -> None:
                try:
                    await settle(ledger, hold)
                except (LedgerUnavailable, asyncio.CancelledError) as error:
                    outcomes.append(error)
                    raise

            cut_off.append(asyncio.create_task(request()))
            await asyncio.sleep(0)

        asyncio.run(story())
        assert len(outcomes) == 1
        assert verify_soon(url)


def verify_soon(url: str) -> bool:
    """Whether the ledger holds, seen by another replica."""

    async def story() -> bool:
        async with replica(url) as ledger:
            await verify_store(ledger)
            return True

    return asyncio.run(story())


class TestRequestsThatLeave:
    def test_a_command_that_cannot_be_sent_hurts_nobody_but_its_caller(self, url: str) -> None:
        async def story() -> None:
            async with replica(url) as ledger:
                key = await new_key(ledger)
                outcomes = await asyncio.gather(
                    buy(ledger, key, "a"),
                    ledger.key("\ud800"),
                    buy(ledger, key, "b", idem="\ud800"),
                    buy(ledger, key, "c"),
                    return_exceptions=True,
                )
                assert [type(outcome) for outcome in outcomes] == [
                    Settlement, UnicodeEncodeError, UnicodeEncodeError, Settlement,
                ]  # fmt: skip
                await verify_store(ledger)

        asyncio.run(story())

    def test_requests_cancelled_at_any_moment_leave_a_sound_ledger_and_no_hold(self, url: str) -> None:
        """And no reply is ever taken for that of another command."""
        chance = random.Random(7)

        async def request(ledger: Ledger, key: str, image: str) -> None:
            hold = await reserve(ledger, key, image)
            try:
                await settle(ledger, hold)
            except BaseException:
                await asyncio.shield(ledger.release(hold))
                raise

        async def cancelled(work: "asyncio.Task[None]", after: Callable[[], float]) -> None:
            await asyncio.sleep(after())
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        async def story() -> None:
            async with replicas(url, 2) as ledgers:
                key = await new_key(ledgers[0], 1000)
                for burst in range(12):
                    ledger = ledgers[burst % 2]
                    tasks = [asyncio.create_task(request(ledger, key, f"{burst} {n}")) for n in range(20)]
                    await asyncio.gather(
                        *(cancelled(task, lambda: chance.uniform(0, 0.02)) for task in tasks)
                    )
            async with replica(url) as ledger:  # closing has given back what was left
                await verify_store(ledger)
                key_now = await account(ledger, key)
                assert key_now.held == 0
                assert 0 < key_now.used < 240
                assert verify_chain(await ledger.links(key)).used == key_now.used

        asyncio.run(story())
