"""What Redis adds to the contract: names that do not grow, exact numbers, the server's time, rules in Lua."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis_process import RedisProcess
from redis_replicas import buy, new_key, replica, reserve, settle

from shared.chain import ZERO_HASH, Billing, Genesis, Settle, canonical_record, link, verify_chain
from teacher_service.metering.archive import LedgerInvalid
from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.ledger import (
    AccountDamaged,
    BudgetExhausted,
    IdempotencyMismatch,
    InFlight,
    LedgerUnavailable,
)
from teacher_service.metering.redis import clock as clock_module
from teacher_service.metering.redis.keyspace import names_of
from teacher_service.metering.redis.store import RedisLedger
from teacher_service.metering.waiting import CALLS_KEPT_MS

LEASE_MS = 10_000
DAY_MS = 86_400_000
MOST = 2**53 - 1


@pytest.fixture
def desk(make_redis_desk: Callable[..., Any], clock: Any) -> Any:
    """The tests here look into Redis."""
    return make_redis_desk(clock)


@pytest.fixture
def url(redis_server: RedisProcess) -> str:
    """An empty Redis."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


def sizes(server: RedisProcess, key: str) -> dict[str, int]:
    """What each Redis key of an API key holds, by the last part of its name."""
    how = {"hash": "hlen", "zset": "zcard", "set": "scard", "stream": "xlen"}
    with server.client() as client:
        found = {}
        for name in client.keys(f"ration:{{{key}}}:*"):
            kind: str = client.type(name).decode()
            found[name.decode().rpartition("}:")[2]] = getattr(client, how[kind])(name)
    return found


class TestGrowth:
    def test_what_is_reserved_and_given_back_leaves_nothing(
        self, desk: Any, redis_server: RedisProcess
    ) -> None:
        distinct, each = desk.new_key(), desk.new_key(billing="every-call")
        before = {key: sizes(redis_server, key) for key in (distinct, each)}
        for turn in range(30):
            for key in (distinct, each):
                desk.release(desk.reserve(key, f"{turn}", idem=f"released {turn}"))
                desk.reserve(key, f"{turn}", f"expired {turn}", idem=f"expired {turn}")
            desk.clock.now_ms += LEASE_MS
        desk.run(desk.ledger.sweep())
        assert {key: sizes(redis_server, key) for key in (distinct, each)} == before

    def test_what_expires_is_cleared_by_the_next_request_without_a_sweep(
        self, desk: Any, redis_server: RedisProcess
    ) -> None:
        key = desk.new_key()
        for turn in range(30):
            desk.reserve(key, f"{turn}", idem=f"{turn}")
            desk.clock.now_ms += LEASE_MS
        found = sizes(redis_server, key)
        assert {found[name] for name in ("holds", "leases", "held_images", "calls")} == {1}

    def test_only_the_chain_and_the_paid_images_grow_with_use(
        self, desk: Any, redis_server: RedisProcess
    ) -> None:
        key = desk.new_key(budget=100)
        for turn in range(20):
            desk.buy(key, "same", f"{turn % 7}", idem=f"{turn}")
        desk.clock.now_ms += CALLS_KEPT_MS + 1
        desk.run(desk.ledger.sweep())
        found = sizes(redis_server, key)
        (paid,) = [name for name in found if name.startswith("paid:")]
        assert (found.pop("events"), found.pop(paid)) == (21, 8)
        assert found == {"account": 16, "revisions": 1, "days": 3}, "with one count for each revision"

    def test_a_replay_takes_no_room_but_its_record(self, desk: Any, redis_server: RedisProcess) -> None:
        key = desk.new_key()
        desk.buy(key, "a")
        before = sizes(redis_server, key)
        for _ in range(10):
            desk.reserve(key, "a")
        desk.buy(key, "a")
        assert sizes(redis_server, key) == {**before, "events": 3}

    def test_a_revoked_key_keeps_its_chain_and_no_hold(self, desk: Any, redis_server: RedisProcess) -> None:
        key = desk.new_key()
        desk.reserve(key, "a", idem="call")
        desk.reserve(key, "b")
        desk.run(desk.ledger.revoke(key))
        assert sizes(redis_server, key) == {"account": 15, "events": 2}

    def test_an_idempotency_key_is_kept_a_day_and_then_forgotten(
        self, desk: Any, redis_server: RedisProcess
    ) -> None:
        key = desk.new_key()
        desk.buy(key, "a", idem="call")
        desk.clock.now_ms += CALLS_KEPT_MS
        desk.run(desk.ledger.sweep())
        assert sizes(redis_server, key)["calls"] == 1
        desk.clock.now_ms += 1
        desk.run(desk.ledger.sweep())
        assert "calls" not in sizes(redis_server, key)
        assert desk.buy(key, "b", idem="call").charged == 1

    def test_a_call_that_is_billed_each_time_is_remembered_for_ever(
        self, desk: Any, redis_server: RedisProcess
    ) -> None:
        key = desk.new_key(billing="every-call")
        desk.buy(key, "a", idem="call")
        desk.clock.now_ms += 400 * CALLS_KEPT_MS
        desk.run(desk.ledger.sweep())
        assert desk.buy(key, "a", idem="call").charged == 0
        assert "calls_by_age" not in sizes(redis_server, key)

    def test_all_names_of_a_key_share_its_hash_tag(self, desk: Any, redis_server: RedisProcess) -> None:
        key = desk.new_key()
        desk.buy(key, "a", idem="call")
        desk.reserve(key, "b", idem="other")
        with redis_server.client() as client:
            names = {name.decode() for name in client.keys("*")} - {"test:now_ms"}
        mine = {name for name in names if f"{{{key}}}" in name}
        assert names - mine == {"ration:store", "ration:keys"}
        assert len(mine) == 10, mine


def stand_at(desk: Any, server: RedisProcess, *, budget: int, used: int, seq: int) -> str:
    """A key whose account stands there, as if by itself; its earlier records are left out."""
    key: str = desk.new_key(budget)
    earlier = Settle(
        key_id=key, seq=seq, at_ms=desk.clock.now_ms, request_id="r", teacher_revision="0" * 64,
        charged=0, replayed=1, used_after=used,
        items=({"image": "0" * 64, "descriptor": "0" * 64, "charged": False},),  # type: ignore[arg-type]
    )  # fmt: skip
    last = link(earlier, ZERO_HASH)
    names = names_of(key)
    with server.client() as client:
        client.xadd(names.events, {"record": canonical_record(last.record), "hash": last.hash}, id=f"1-{seq}")
        client.hset(
            names.account,
            mapping={"used": used, "used_in_window": used, "seq": seq, "head": last.hash, "budget": budget},
        )
    return key


class TestNumbers:
    @pytest.mark.parametrize(
        ("budget", "used", "seq"),
        [
            (MOST, MOST - 5, 2**31 + 7),
            (2**33, 2**32 + 1, 2**32 + 1),
            (10**15 + 10, 10**15, 10**15),
            (MOST, 0, 99_999_999_999_999),
        ],
    )
    def test_accounts_are_exact_far_beyond_thirty_two_bits(
        self, desk: Any, redis_server: RedisProcess, budget: int, used: int, seq: int
    ) -> None:
        key = stand_at(desk, redis_server, budget=budget, used=used, seq=seq)
        # As a replica that has not seen the key before.
        desk.ledger._watermarks._marks.clear()
        desk.ledger._ends._ends.clear()
        settled = desk.buy(key, "a", "b")
        assert (settled.seq, settled.used_after) == (seq + 1, used + 2)
        assert (settled.budget, settled.remaining) == (budget, budget - used - 2)
        hold = desk.reserve(key, "c")
        assert desk.account(key).remaining == budget - used - 3
        desk.release(hold)
        record = desk.account(key)
        assert (record.budget, record.used, record.used_in_window, record.held) == (
            budget, used + 2, used + 2, 0,
        )  # fmt: skip
        with redis_server.client() as client:
            raw = client.hgetall(names_of(key).account)
            ids = [entry for entry, _ in client.xrange(names_of(key).events)]
        assert (raw[b"used"], raw[b"seq"]) == (str(used + 2).encode(), str(seq + 1).encode())
        assert ids[-1] == f"1-{seq + 1}".encode()
        (fresh,) = desk.run(desk.ledger.links(key, after=seq))
        assert fresh == settled.link

    def test_the_last_query_of_the_largest_budget_can_be_bought_and_no_more(
        self, desk: Any, redis_server: RedisProcess
    ) -> None:
        key = stand_at(desk, redis_server, budget=MOST, used=MOST - 1, seq=5)
        desk.ledger._watermarks._marks.clear()
        desk.ledger._ends._ends.clear()
        with pytest.raises(BudgetExhausted) as caught:
            desk.reserve(key, "a", "b")
        assert caught.value.remaining == 1
        assert desk.buy(key, "a").used_after == MOST
        with pytest.raises(BudgetExhausted):
            desk.reserve(key, "b")

    def test_a_grant_up_to_the_largest_budget_is_exact(self, desk: Any) -> None:
        key = desk.new_key(2)
        assert desk.run(desk.ledger.grant(key, MOST - 2)).budget == MOST
        assert desk.account(key).remaining == MOST
        desk.buy(key, "a")
        assert verify_chain(desk.links(key)).remaining == MOST - 1


class TestServerTime:
    @pytest.mark.parametrize("off_ms", [-86_400_000, 86_400_000])
    def test_records_carry_the_server_s_time_whatever_the_replica_s_clock_says(
        self, url: str, monkeypatch: pytest.MonkeyPatch, off_ms: int
    ) -> None:
        """From the first record on: a window must not begin by a wrong clock."""

        class WrongTime:
            monotonic_ns = staticmethod(time.monotonic_ns)

            @staticmethod
            def time_ns() -> int:
                return time.time_ns() + off_ms * 1_000_000

        monkeypatch.setattr(clock_module, "time", WrongTime)

        async def story() -> None:
            async with replica(url) as ledger:
                key = await new_key(ledger, 3, window="day")
                await buy(ledger, key, "a")
                await ledger.grant(key, 1)
                for entry in await ledger.links(key):
                    assert abs(entry.record["at_ms"] - time.time_ns() // 1_000_000) < 5_000
                await verify_store(ledger)

        asyncio.run(story())

    def test_a_clock_that_has_drifted_is_set_right_by_a_refused_settlement(self, url: str) -> None:
        async def story() -> None:
            async with replica(url, serve=False) as ledger:
                key = await new_key(ledger)
                ledger._clock.learn(ledger._clock() + 3_600_000, 0.0)
                settled = await buy(ledger, key, "a")
                assert abs(settled.at_ms - time.time_ns() // 1_000_000) < 5_000

        asyncio.run(story())

    def test_a_time_that_cannot_be_set_right_is_given_up_and_charges_nothing(self, url: str) -> None:
        """As over a line on which each answer is older than the server bears."""

        class Stuck:
            def __call__(self) -> int:
                return time.time_ns() // 1_000_000 - 3_600_000

            def learn(self, server_now_ms: int, round_trip_s: float) -> None:
                pass

        async def story() -> None:
            async with replica(url) as ledger, replica(url, clock=Stuck()) as stuck:
                key = await new_key(ledger)
                hold = await reserve(stuck, key, "a")
                with pytest.raises(LedgerUnavailable, match="Look at the server's clock"):
                    await settle(stuck, hold)
                assert (await settle(ledger, hold)).charged == 1

        asyncio.run(story())

    def test_a_record_is_not_older_than_the_window_that_another_replica_has_begun(
        self, make_redis_desk: Callable[..., Any], clock: Any
    ) -> None:
        """Else the chain would count it in the window before, and the store in this one."""
        one, other = make_redis_desk(clock), make_redis_desk(clock)
        midnight_ms = (clock.now_ms // DAY_MS + 1) * DAY_MS
        clock.now_ms = midnight_ms - 100
        key = one.new_key(budget=3, window="day")
        hold = one.reserve(key, "a")
        clock.now_ms = midnight_ms + 100
        other.reserve(key, "b")
        behind = type(clock)()
        behind.now_ms = midnight_ms - 100
        behind.learn = lambda server_now_ms, _: setattr(behind, "now_ms", server_now_ms)
        one.ledger._chains._clock = behind
        assert one.settle(hold).at_ms >= midnight_ms
        one.run(verify_store(one.ledger))


class TestRules:
    """What scripts check although it cannot happen: a hand in the store, or a fault of ours."""

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"budget": 0}, "would overspend"),
            ({"used_in_window": 10}, "would overspend"),
            ({"held": 11}, "would overspend"),
        ],
    )
    def test_a_settlement_that_would_overspend_is_refused_and_changes_nothing(
        self, desk: Any, redis_server: RedisProcess, change: dict[str, int], told: str
    ) -> None:
        """Invariant 1, once more at the end."""
        key = desk.new_key(budget=10)
        hold = desk.reserve(key, "a")
        with redis_server.client() as client:
            client.hset(names_of(key).account, mapping=change)
            before = client.hgetall(names_of(key).account), sizes(redis_server, key)
            with pytest.raises(LedgerUnavailable, match=told):
                desk.settle(hold)
            assert before == (client.hgetall(names_of(key).account), sizes(redis_server, key))

    def test_an_image_that_was_paid_meanwhile_is_not_charged_again(
        self, desk: Any, redis_server: RedisProcess
    ) -> None:
        key = desk.new_key(budget=10)
        desk.buy(key, "before")
        hold = desk.reserve(key, "a")
        names, revision = names_of(key), hold.reservation.teacher_revision
        with redis_server.client() as client:
            client.hset(names.paid(revision), bytes.fromhex(hold.reservation.images[0]), 1)
            before = client.hgetall(names.account), sizes(redis_server, key)
            with pytest.raises(LedgerUnavailable, match="charged twice"):
                desk.settle(hold)
            assert before == (client.hgetall(names.account), sizes(redis_server, key))

    @pytest.mark.parametrize("lost", ["an image", "all"])
    def test_a_key_whose_paid_images_are_not_all_on_record_is_not_sold_anything(
        self, desk: Any, redis_server: RedisProcess, lost: str
    ) -> None:
        """As a server that evicts could leave it: what is missing would be charged a second time."""
        key = desk.new_key(budget=10)
        hold = desk.reserve(key, "c")
        settled = desk.buy(key, "a", "b")
        items, revision = (settled.link.record[part] for part in ("items", "teacher_revision"))
        with redis_server.client() as client:
            if lost == "all":
                client.delete(names_of(key).paid(revision))
            else:
                client.hdel(names_of(key).paid(revision), bytes.fromhex(items[0]["image"]))
        for image in ("a", "d"):
            with pytest.raises(LedgerUnavailable, match="no longer on record"):
                desk.reserve(key, image)
        with pytest.raises(LedgerUnavailable, match="no longer on record"):
            desk.settle(hold)
        assert desk.account(key).used == 2
        assert desk.buy(desk.new_key(), "a").charged == 1, "other keys are not concerned"

    def test_words_that_mean_nothing_are_damage_and_no_default(
        self, desk: Any, redis_server: RedisProcess
    ) -> None:
        for field, word in (("billing", "every_call"), ("window", "tottal")):
            key = desk.new_key()
            with redis_server.client() as client:
                client.hset(names_of(key).account, field, word)
            with pytest.raises(AccountDamaged, match=f"{key}.*{word}"):
                desk.account(key)

    def test_an_image_that_is_held_by_no_hold_is_told_and_not_sold(
        self, desk: Any, redis_server: RedisProcess
    ) -> None:
        key = desk.new_key()
        hold = desk.reserve(key, "a")
        with redis_server.client() as client:
            client.hdel(names_of(key).holds, hold.hold_id)
        with pytest.raises(LedgerUnavailable, match="held by a hold that is gone"):
            desk.reserve(key, "a")
        with pytest.raises(LedgerInvalid, match="2 holds lack a lease, or stand where no hold is"):
            desk.run(desk.ledger.totals(key))

    def test_a_ledger_of_another_layout_is_refused(self, desk: Any, redis_server: RedisProcess) -> None:
        with redis_server.client() as client:
            client.hset("ration:store", "layout", "2")
        with pytest.raises(LedgerUnavailable, match="layout 2, this program knows 1"):
            desk.run(RedisLedger(redis_server.url, serve=False).open())

    def test_one_image_under_two_holds_is_not_charged_twice_by_one_group(
        self, desk: Any, redis_server: RedisProcess
    ) -> None:
        key = desk.new_key(budget=10)
        holds = []
        for _ in range(2):
            holds.append(desk.reserve(key, "a"))
            with redis_server.client() as client:
                client.delete(names_of(key).held_images)

        async def both() -> list[Any]:
            return await asyncio.gather(
                *(settle(desk.ledger, hold) for hold in holds), return_exceptions=True
            )

        outcomes = desk.run(both())
        assert ["charged twice" in str(outcome) for outcome in outcomes] == [True, True]
        assert desk.account(key).used == 0

    def test_a_hold_of_another_size_is_not_the_one_that_was_granted(
        self, desk: Any, redis_server: RedisProcess
    ) -> None:
        key = desk.new_key(budget=10)
        hold, other = desk.reserve(key, "a"), desk.reserve(key, "b", "c")
        names = names_of(key)
        with redis_server.client() as client:
            stored = client.hget(names.holds, other.hold_id)
            assert stored is not None
            client.hset(names.holds, hold.hold_id, stored)
            with pytest.raises(Exception, match="is gone"):
                desk.settle(hold)
            assert desk.account(key).used == 0

    def test_a_repetition_that_fails_leaves_the_settled_call_on_record(self, desk: Any) -> None:
        """Of a body that asks for another image now: no service sends it, and no call is forgotten by it."""
        key = desk.new_key()
        desk.buy(key, "a", idem="call", body="one")
        desk.release(desk.reserve(key, "b", idem="call", body="one"))
        with pytest.raises(IdempotencyMismatch):
            desk.reserve(key, "a", idem="call", body="other")

    def test_a_second_genesis_is_not_written_over_a_key(self, desk: Any) -> None:
        key = desk.new_key()
        desk.buy(key, "a")
        genesis = Genesis(key_id=key, seq=0, at_ms=1, name="again", budget=99, billing="distinct")
        first = link(genesis, ZERO_HASH)
        names = names_of(key)
        args = (canonical_record(first.record), first.hash, "budget", 99)
        reply = desk.run(desk.ledger._connection.run("open_key", (names.account, names.events), args))
        assert reply == [b"exists"]
        assert desk.account(key).budget == 10

    @pytest.mark.parametrize("billing", ["distinct", "every-call"])
    def test_a_thousand_and_more_images_are_held_settled_and_given_back(
        self, desk: Any, redis_server: RedisProcess, billing: Billing
    ) -> None:
        """More than one command takes."""
        key = desk.new_key(10_000, billing)
        names = [f"{n}" for n in range(2500)]
        desk.release(desk.reserve(key, *names))
        assert "held_images" not in sizes(redis_server, key)
        hold = desk.reserve(key, *names)
        if billing == "distinct":
            with pytest.raises(InFlight):
                desk.reserve(key, "new", names[-1])
        assert desk.settle(hold).charged == 2500
        assert desk.reserve(key, *names, idem="x").charged_images == (
            frozenset() if billing == "distinct" else hold.charged_images
        )
        desk.run(verify_store(desk.ledger))

    def test_scripts_that_the_server_has_forgotten_are_loaded_again(
        self, url: str, redis_server: RedisProcess
    ) -> None:
        async def story() -> None:
            async with replica(url) as ledger:
                key = await new_key(ledger)
                hold = await reserve(ledger, key, "a")
                with redis_server.client() as client:
                    client.script_flush()
                await ledger.release(hold)
                assert (await buy(ledger, key, "a")).used_after == 1

        asyncio.run(story())
