"""What every store promises: the rules of ``docs/metering.md``, one by one.

The numbered invariants are quoted where a test stands for one of them.
"""

import asyncio
from typing import Any

import pytest

from shared.chain import verify_chain
from teacher_service.access.keys import mint
from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.ledger import (
    BudgetChanged,
    BudgetExhausted,
    HoldExpired,
    IdempotencyMismatch,
    InFlight,
    KeyExists,
    KeyRevoked,
    NewKey,
    Reservation,
    TooManyReplays,
    UnknownKey,
)
from teacher_service.metering.redis import reserving
from teacher_service.metering.sqlite.transactions import usage

LEASE_MS = 10_000
DAY_MS = 24 * 3600 * 1000


def events(desk: Any, key_id: str) -> list[str]:
    return [entry.record["kind"] for entry in desk.links(key_id)]


def assert_sound(desk: Any) -> None:
    """Invariants 1 and 3: used + held <= budget; used = charged images = the sum of the events."""
    desk.run(verify_store(desk.ledger))
    for key in desk.run(desk.ledger.keys()):
        assert 0 <= key.held <= key.budget - key.used


class TestKeys:
    def test_a_new_key_has_a_genesis_and_its_whole_budget(self, desk: Any) -> None:
        _, new = mint("Ada", 7, "600/minute", "every-call")
        record = desk.run(desk.ledger.create_key(new))
        assert (record.name, record.budget, record.used, record.held) == ("Ada", 7, 0, 0)
        assert (record.rate, record.billing, record.revoked) == ("600/minute", "every-call", False)
        assert (record.salt, record.secret_hash) == (new.salt, new.secret_hash)
        assert record.created_at_ms == desk.clock.now_ms
        assert desk.account(new.key_id) == record
        account = verify_chain(desk.links(new.key_id))
        assert (account.budget, account.name, account.billing) == (7, "Ada", "every-call")

    def test_keys_are_listed_oldest_first(self, desk: Any) -> None:
        made = []
        for _ in range(5):
            made.append(desk.new_key())
            desk.clock.now_ms += 1
        assert [key.key_id for key in desk.run(desk.ledger.keys())] == made

    def test_an_unknown_key_has_no_record(self, desk: Any) -> None:
        assert desk.run(desk.ledger.key("nobody")) is None

    def test_a_key_cannot_be_created_twice(self, desk: Any) -> None:
        _, new = mint("a", 1)
        desk.run(desk.ledger.create_key(new))
        with pytest.raises(KeyExists, match="exists already"):
            desk.run(desk.ledger.create_key(new))
        assert events(desk, new.key_id) == ["genesis"]

    @pytest.mark.parametrize(
        "change",
        [
            {"budget": -1},
            {"budget": 2**53},
            {"name": ""},
            {"name": "x" * 201},
            {"name": "a\nb"},
            {"name": "\ud800"},
            {"key_id": ""},
            {"key_id": "k" * 65},
        ],
    )
    def test_a_key_that_could_not_be_written_on_a_chain_is_refused(self, desk: Any, change: Any) -> None:
        fields: Any = {"name": "a", "budget": 1, "billing": "distinct", "key_id": "k", "rate": ""}
        with pytest.raises(ValueError, match=r"budget|name|id"):
            desk.run(desk.ledger.create_key(NewKey(**{**fields, **change}, salt=b"", secret_hash=b"")))
        assert desk.run(desk.ledger.keys()) == []

    def test_every_call_for_a_key_that_does_not_exist_is_refused(self, desk: Any) -> None:
        ledger = desk.ledger
        for work in (ledger.grant("no", 1), ledger.revoke("no"), ledger.links("no"), ledger.head("no")):
            with pytest.raises(UnknownKey, match="no key no"):
                desk.run(work)
        with pytest.raises(UnknownKey):
            desk.reserve("no", "a")


class TestBudget:
    def test_a_bought_image_is_charged_once_and_reported(self, desk: Any) -> None:
        key = desk.new_key(budget=5)
        settled = desk.buy(key, "a", "b")
        assert (settled.charged, settled.replayed, settled.used_after) == (2, 0, 2)
        assert (settled.budget, settled.remaining, settled.seq) == (5, 3, 1)
        assert settled.link == desk.links(key)[1]
        assert settled.at_ms == settled.link.record["at_ms"] == desk.clock.now_ms
        assert (desk.account(key).used, desk.account(key).held) == (2, 0)

    def test_a_hold_counts_against_the_budget_before_it_is_settled(self, desk: Any) -> None:
        key = desk.new_key(budget=3)
        desk.reserve(key, "a", "b")
        assert desk.account(key).remaining == 1
        with pytest.raises(BudgetExhausted, match=r"needs 2 queries, 1 of 3 are left") as caught:
            desk.reserve(key, "c", "d")
        assert (caught.value.needed, caught.value.remaining, caught.value.budget) == (2, 1, 3)

    def test_a_request_over_budget_is_refused_whole(self, desk: Any) -> None:
        key = desk.new_key(budget=2)
        with pytest.raises(BudgetExhausted):
            desk.reserve(key, "a", "b", "c")
        assert desk.account(key).held == 0
        assert desk.buy(key, "a", "b").remaining == 0

    def test_remaining_counts_what_others_hold(self, desk: Any) -> None:
        key = desk.new_key(budget=5)
        desk.reserve(key, "a", "b")
        assert desk.buy(key, "c").remaining == 2

    def test_a_budget_of_zero_buys_nothing(self, desk: Any) -> None:
        key = desk.new_key(budget=0)
        with pytest.raises(BudgetExhausted, match="0 of 0 are left"):
            desk.reserve(key, "a")
        assert_sound(desk)

    def test_a_released_hold_gives_its_queries_back(self, desk: Any) -> None:
        key = desk.new_key(budget=1)
        desk.release(desk.reserve(key, "a"))
        assert desk.account(key).held == 0
        assert desk.buy(key, "b").used_after == 1
        assert events(desk, key) == ["genesis", "settle"], "a hold that delivered nothing leaves no record"

    def test_releasing_twice_gives_back_once(self, desk: Any) -> None:
        key = desk.new_key(budget=4)
        desk.reserve(key, "a", "b")
        hold = desk.reserve(key, "c")
        desk.release(hold)
        desk.release(hold)
        assert desk.account(key).held == 2

    def test_releasing_after_settling_takes_nothing_back(self, desk: Any) -> None:
        key = desk.new_key()
        hold = desk.reserve(key, "a")
        desk.settle(hold)
        desk.release(hold)
        assert desk.account(key).used == 1

    def test_settling_twice_charges_once(self, desk: Any) -> None:
        key = desk.new_key()
        hold = desk.reserve(key, "a")
        desk.settle(hold)
        with pytest.raises(HoldExpired, match="nothing was charged"):
            desk.settle(hold)
        assert desk.account(key).used == 1
        assert_sound(desk)

    def test_settling_after_releasing_is_refused(self, desk: Any) -> None:
        key = desk.new_key()
        for images in (("a",), ("paid",)):
            desk.buy(key, "paid")
            hold = desk.reserve(key, *images)
            desk.release(hold)
            with pytest.raises(HoldExpired):
                desk.settle(hold)

    def test_a_missing_descriptor_is_refused_and_the_hold_stays(self, desk: Any) -> None:
        key = desk.new_key()
        hold = desk.reserve(key, "a", "b")
        with pytest.raises(ValueError, match="1 images have no descriptor"):
            desk.run(desk.ledger.settle(hold, {hold.reservation.images[0]: "0" * 64}))
        assert desk.settle(hold).charged == 2

    def test_a_descriptor_digest_that_is_none_is_refused_and_the_hold_stays(self, desk: Any) -> None:
        key = desk.new_key()
        for charged in (1, 0):
            hold = desk.reserve(key, "a")
            with pytest.raises(ValueError, match="'rubbish' is not a SHA-256"):
                desk.run(desk.ledger.settle(hold, {hold.reservation.images[0]: "rubbish"}))
            assert desk.settle(hold).charged == charged
        assert_sound(desk)

    def test_a_grant_raises_the_budget_and_is_recorded(self, desk: Any) -> None:
        key = desk.new_key(budget=1)
        desk.buy(key, "a")
        assert desk.run(desk.ledger.grant(key, 2)).budget == 3
        assert desk.buy(key, "b", "c").remaining == 0
        assert events(desk, key) == ["genesis", "settle", "grant", "settle"]
        assert_sound(desk)

    @pytest.mark.parametrize("amount", [0, -1, 2**53])
    def test_a_grant_that_cannot_be_is_refused(self, desk: Any, amount: int) -> None:
        key = desk.new_key(budget=1)
        with pytest.raises(ValueError, match="Cannot grant"):
            desk.run(desk.ledger.grant(key, amount))
        assert desk.account(key).budget == 1


class TestReplays:
    def test_the_same_image_again_is_free_and_still_recorded(self, desk: Any) -> None:
        key = desk.new_key(budget=2)
        desk.buy(key, "a", "b")
        again = desk.buy(key, "b", "a")
        assert (again.charged, again.replayed, again.used_after, again.remaining) == (0, 2, 2, 0)
        items = again.link.record["items"]
        assert [item["charged"] for item in items] == [False, False]
        assert [item["image"] for item in items] == [
            desk.links(key)[1].record["items"][position]["image"] for position in (1, 0)
        ]
        assert events(desk, key) == ["genesis", "settle", "settle"]

    def test_a_mixed_request_pays_for_what_is_new(self, desk: Any) -> None:
        key = desk.new_key()
        desk.buy(key, "a")
        hold = desk.reserve(key, "a", "b", "c")
        assert len(hold.charged_images) == 2
        settled = desk.settle(hold)
        assert (settled.charged, settled.replayed) == (2, 1)

    def test_a_replay_needs_no_budget(self, desk: Any) -> None:
        key = desk.new_key(budget=1)
        desk.buy(key, "a")
        assert desk.reserve(key, "a").charged_images == frozenset()

    def test_a_settled_replay_cannot_be_settled_again(self, desk: Any) -> None:
        key = desk.new_key()
        desk.buy(key, "a")
        hold = desk.reserve(key, "a")
        desk.settle(hold)
        with pytest.raises(HoldExpired):
            desk.settle(hold)
        assert len(desk.links(key)) == 3

    def test_another_key_pays_for_itself(self, desk: Any) -> None:
        first, second = desk.new_key(), desk.new_key()
        desk.buy(first, "a")
        assert desk.buy(second, "a").charged == 1

    def test_another_revision_of_the_teacher_is_another_purchase(self, desk: Any) -> None:
        key = desk.new_key()
        desk.buy(key, "a")
        assert desk.buy(key, "a", revision="retrained").charged == 1
        assert desk.buy(key, "a").charged == 0
        assert_sound(desk)

    def test_many_images_in_one_request(self, desk: Any) -> None:
        key = desk.new_key(budget=2000)
        names = [f"image {n}" for n in range(1100)]
        assert desk.buy(key, *names).charged == 1100
        assert desk.buy(key, *names, "one more").charged == 1


@pytest.fixture
def few_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two in a day, or one for each query of the budget."""
    for module in (usage, reserving):
        monkeypatch.setattr(module, "MIN_REPLAYS_A_DAY", 2)
        monkeypatch.setattr(module, "REPLAYS_A_DAY_PER_QUERY", 1)


@pytest.mark.usefixtures("few_replays")
class TestFreeReplaysOfADay:
    """Each is a record for ever and costs nothing: without a bound one key could fill the store."""

    def test_they_are_bounded_and_begin_anew_at_midnight(self, desk: Any) -> None:
        key = desk.new_key(budget=3)
        desk.buy(key, "a", "b", "c")
        desk.buy(key, "a", "b")
        with pytest.raises(TooManyReplays, match="had its 3 free repeats of today") as caught:
            desk.reserve(key, "a", "b")
        assert caught.value.again_in_ms == DAY_MS - desk.clock.now_ms % DAY_MS
        assert desk.buy(key, "c").replayed == 1
        desk.clock.now_ms += caught.value.again_in_ms
        assert desk.buy(key, "a", "b", "c").replayed == 3
        assert_sound(desk)

    def test_a_clock_set_back_gives_no_more_of_them_to_a_key_with_a_window(self, desk: Any) -> None:
        key = desk.new_key(budget=1, window="hour")
        midnight_ms = (desk.clock.now_ms // DAY_MS + 1) * DAY_MS
        desk.clock.now_ms = midnight_ms + 1000
        desk.buy(key, "a")
        desk.clock.now_ms = midnight_ms - 1000
        assert [desk.buy(key, "a").replayed for _ in range(2)] == [1, 1]
        with pytest.raises(TooManyReplays) as caught:
            desk.reserve(key, "a")
        assert caught.value.again_in_ms == DAY_MS + 1000

    def test_a_small_budget_has_some_all_the_same(self, desk: Any) -> None:
        key = desk.new_key(budget=1)
        desk.buy(key, "a")
        assert [desk.buy(key, "a").replayed for _ in range(2)] == [1, 1]
        with pytest.raises(TooManyReplays):
            desk.reserve(key, "a")

    def test_a_purchase_that_replays_too_much_holds_nothing_and_new_images_can_still_be_bought(
        self, desk: Any
    ) -> None:
        key = desk.new_key(budget=4)
        desk.buy(key, "a", "b", "c")
        desk.buy(key, "a", "b", "c")
        with pytest.raises(TooManyReplays):
            desk.reserve(key, "a", "b", "d")
        assert desk.account(key).held == 0
        assert desk.buy(key, "d").charged == 1

    def test_a_repeated_call_that_is_billed_each_time_counts_as_well(self, desk: Any) -> None:
        key = desk.new_key(budget=2, billing="every-call")
        for _ in range(3):
            desk.buy(key, "a", idem="call")
        with pytest.raises(TooManyReplays):
            desk.reserve(key, "a", idem="call")
        assert desk.buy(key, "a").charged == 1


class TestInFlight:
    def test_an_image_under_a_live_hold_of_the_same_key_must_be_waited_for(self, desk: Any) -> None:
        """And is never refused for the budget that the first one holds."""
        key = desk.new_key(budget=1)
        hold = desk.reserve(key, "a")
        with pytest.raises(InFlight) as caught:
            desk.reserve(key, "a")
        assert caught.value.retry_after_ms == 100
        desk.settle(hold)
        assert desk.buy(key, "a").charged == 0

    def test_nothing_of_a_request_is_held_when_one_image_is_in_flight(self, desk: Any) -> None:
        key = desk.new_key(budget=5)
        desk.reserve(key, "a")
        with pytest.raises(InFlight):
            desk.reserve(key, "b", "a")
        assert desk.account(key).held == 1
        assert desk.buy(key, "b").charged == 1

    def test_the_advice_to_wait_grows_with_the_age_of_the_hold(self, desk: Any) -> None:
        key = desk.new_key()
        desk.reserve(key, "a")
        began_ms, advised = desk.clock.now_ms, []
        for age_ms in (0, 700, 5000, LEASE_MS - 10):
            desk.clock.now_ms = began_ms + age_ms
            with pytest.raises(InFlight) as caught:
                desk.reserve(key, "a")
            advised.append(caught.value.retry_after_ms)
        assert advised == [100, 700, 2000, 100]

    def test_after_a_release_the_image_is_free_to_buy(self, desk: Any) -> None:
        key = desk.new_key()
        desk.release(desk.reserve(key, "a"))
        assert desk.buy(key, "a").charged == 1

    def test_other_keys_and_other_revisions_do_not_wait(self, desk: Any) -> None:
        key = desk.new_key()
        desk.reserve(key, "a")
        assert desk.buy(desk.new_key(), "a").charged == 1
        assert desk.buy(key, "a", revision="retrained").charged == 1


class TestLeases:
    def test_an_expired_hold_is_given_back_by_the_next_reserve_of_its_key(self, desk: Any) -> None:
        key = desk.new_key(budget=1)
        late = desk.reserve(key, "a")
        desk.clock.now_ms += LEASE_MS
        assert desk.buy(key, "b").used_after == 1
        with pytest.raises(HoldExpired, match="Repeat the request"):
            desk.settle(late)
        assert_sound(desk)

    def test_the_same_image_can_be_bought_once_its_hold_has_expired(self, desk: Any) -> None:
        key = desk.new_key(budget=1)
        late = desk.reserve(key, "a")
        desk.clock.now_ms += LEASE_MS
        assert desk.buy(key, "a").charged == 1
        with pytest.raises(HoldExpired):
            desk.settle(late)
        assert desk.account(key).used == 1

    def test_a_late_settle_is_refused_even_before_anybody_noticed(self, desk: Any) -> None:
        key = desk.new_key()
        desk.buy(key, "paid")
        late, late_replay = desk.reserve(key, "a"), desk.reserve(key, "paid")
        desk.clock.now_ms = late.expires_at_ms
        for hold in (late, late_replay):
            with pytest.raises(HoldExpired):
                desk.settle(hold)
        assert desk.account(key).used == 1

    def test_a_hold_may_be_settled_until_its_last_millisecond(self, desk: Any) -> None:
        key = desk.new_key()
        hold = desk.reserve(key, "a")
        desk.clock.now_ms = hold.expires_at_ms - 1
        assert desk.settle(hold).charged == 1

    def test_a_sweep_gives_back_what_expired_and_keeps_what_lives(self, desk: Any) -> None:
        one, other = desk.new_key(), desk.new_key()
        desk.reserve(one, "a", "b")
        desk.reserve(other, "a")
        desk.clock.now_ms += LEASE_MS // 2
        desk.reserve(one, "c")
        desk.clock.now_ms += LEASE_MS // 2
        desk.run(desk.ledger.sweep())
        assert (desk.account(one).held, desk.account(other).held) == (1, 0)
        assert_sound(desk)


class TestEveryCall:
    def test_each_call_pays_for_each_image(self, desk: Any) -> None:
        key = desk.new_key(billing="every-call")
        assert desk.buy(key, "a", "b").charged == 2
        again = desk.buy(key, "a")
        assert (again.charged, again.replayed, again.used_after) == (1, 0, 3)
        assert_sound(desk)

    def test_two_calls_at_once_pay_apart(self, desk: Any) -> None:
        key = desk.new_key(billing="every-call")
        holds = [desk.reserve(key, "a"), desk.reserve(key, "a")]
        assert [desk.settle(hold).charged for hold in holds] == [1, 1]
        assert_sound(desk)

    def test_a_repeated_call_with_its_idempotency_key_is_free(self, desk: Any) -> None:
        key = desk.new_key(billing="every-call")
        desk.buy(key, "a", "b", idem="call 1")
        again = desk.buy(key, "a", "b", idem="call 1")
        assert (again.charged, again.replayed) == (0, 2)
        assert desk.buy(key, "a", "b", idem="call 2").charged == 2
        assert desk.buy(key, "a", "b").charged == 2
        assert_sound(desk)

    def test_a_repeated_call_pays_again_for_another_revision(self, desk: Any) -> None:
        key = desk.new_key(billing="every-call")
        desk.buy(key, "a", idem="call")
        first = desk.reserve(key, "a", revision="retrained", idem="call")
        assert len(first.charged_images) == 1
        with pytest.raises(InFlight):
            desk.reserve(key, "a", revision="retrained", idem="call")
        desk.settle(first)
        assert desk.buy(key, "a", revision="retrained", idem="call").charged == 0
        assert_sound(desk)

    def test_a_call_that_fails_under_another_revision_leaves_the_settled_one_free(self, desk: Any) -> None:
        key = desk.new_key(billing="every-call")
        desk.buy(key, "a", idem="call")
        desk.release(desk.reserve(key, "a", revision="retrained", idem="call"))
        assert desk.buy(key, "a", idem="call").charged == 0
        desk.buy(key, "a", revision="retrained", idem="call")
        assert desk.buy(key, "a", idem="call").charged == 0
        assert_sound(desk)

    def test_a_settled_call_is_never_forgotten_because_it_would_be_paid_twice(self, desk: Any) -> None:
        key = desk.new_key(billing="every-call")
        desk.buy(key, "a", idem="call")
        desk.clock.now_ms += 1000 * DAY_MS
        desk.run(desk.ledger.sweep())
        assert desk.buy(key, "a", idem="call").charged == 0
        assert_sound(desk)


def test_billed_per_image_a_settled_call_is_remembered_for_a_day_and_forgotten_later(desk: Any) -> None:
    key = desk.new_key(billing="distinct")
    desk.buy(key, "a", idem="k")
    desk.clock.now_ms += DAY_MS
    desk.run(desk.ledger.sweep())
    with pytest.raises(IdempotencyMismatch):
        desk.reserve(key, "b", idem="k")
    desk.clock.now_ms += 1
    desk.run(desk.ledger.sweep())
    assert desk.buy(key, "b", idem="k").charged == 1


@pytest.mark.parametrize("billing", ["distinct", "every-call"])
class TestIdempotencyKeys:
    def test_an_idempotency_key_belongs_to_one_body(self, desk: Any, billing: Any) -> None:
        key = desk.new_key(billing=billing)
        hold = desk.reserve(key, "a", idem="k")
        with pytest.raises(IdempotencyMismatch, match="'k' was used"):
            desk.reserve(key, "b", idem="k")
        desk.settle(hold)
        with pytest.raises(IdempotencyMismatch):
            desk.reserve(key, "b", idem="k")
        with pytest.raises(IdempotencyMismatch):
            desk.reserve(key, "a", idem="k", body="another form of it")

    def test_a_call_in_flight_is_not_begun_twice(self, desk: Any, billing: Any) -> None:
        key = desk.new_key(billing=billing)
        desk.buy(key, "a", idem="first")
        hold = desk.reserve(key, "a", idem="second")
        desk.clock.now_ms += 300
        with pytest.raises(InFlight, match="Idempotency key 'second'") as caught:
            desk.reserve(key, "a", idem="second")
        assert caught.value.retry_after_ms == 300
        desk.settle(hold)
        assert desk.buy(key, "a", idem="second").charged == 0

    def test_idempotency_keys_of_two_api_keys_are_apart(self, desk: Any, billing: Any) -> None:
        one, other = desk.new_key(billing=billing), desk.new_key(billing=billing)
        desk.buy(one, "a", idem="k")
        assert desk.buy(other, "b", idem="k").charged == 1

    def test_a_released_call_leaves_its_idempotency_key_free(self, desk: Any, billing: Any) -> None:
        key = desk.new_key(billing=billing)
        desk.release(desk.reserve(key, "a", idem="k"))
        assert desk.buy(key, "b", idem="k").charged == 1

    def test_an_expired_call_leaves_its_idempotency_key_free(self, desk: Any, billing: Any) -> None:
        key = desk.new_key(billing=billing)
        desk.reserve(key, "a", idem="k")
        desk.clock.now_ms += LEASE_MS
        assert desk.buy(key, "b", idem="k").charged == 1

    def test_a_refused_call_leaves_its_idempotency_key_free(self, desk: Any, billing: Any) -> None:
        key = desk.new_key(budget=1, billing=billing)
        with pytest.raises(BudgetExhausted):
            desk.reserve(key, "a", "b", idem="k")
        assert desk.buy(key, "a", idem="k").charged == 1

    def test_a_repetition_that_fails_does_not_forget_the_settled_call(self, desk: Any, billing: Any) -> None:
        key = desk.new_key(billing=billing)
        desk.buy(key, "a", idem="k")
        desk.release(desk.reserve(key, "a", idem="k"))
        assert desk.buy(key, "a", idem="k").charged == 0


class TestRevocation:
    def test_a_revoked_key_may_not_reserve_not_even_replays(self, desk: Any) -> None:
        key = desk.new_key()
        desk.buy(key, "a")
        assert desk.run(desk.ledger.revoke(key)).revoked
        for image in ("a", "b"):
            with pytest.raises(KeyRevoked, match="was revoked"):
                desk.reserve(key, image)

    def test_a_revocation_drops_holds_and_a_later_settle_says_so(self, desk: Any) -> None:
        key = desk.new_key()
        desk.buy(key, "paid")
        holds = [desk.reserve(key, "a"), desk.reserve(key, "paid")]
        assert desk.run(desk.ledger.revoke(key)).held == 0
        for hold in holds:
            with pytest.raises(KeyRevoked):
                desk.settle(hold)
            desk.release(hold)
        assert desk.account(key).used == 1
        assert_sound(desk)

    def test_a_late_replay_of_a_revoked_key_is_told_of_the_revocation(self, desk: Any) -> None:
        key = desk.new_key()
        desk.buy(key, "a")
        late = desk.reserve(key, "a")
        desk.clock.now_ms = late.expires_at_ms
        desk.run(desk.ledger.revoke(key))
        with pytest.raises(KeyRevoked):
            desk.settle(late)

    def test_revoking_twice_changes_nothing(self, desk: Any) -> None:
        key = desk.new_key()
        assert desk.run(desk.ledger.revoke(key)) == desk.run(desk.ledger.revoke(key))
        assert events(desk, key) == ["genesis", "revoke"]

    def test_a_grant_that_is_repeated_for_the_same_budget_is_made_once(self, desk: Any) -> None:
        key = desk.new_key(budget=10)
        assert desk.run(desk.ledger.grant(key, 5, expected_budget=10)).budget == 15
        with pytest.raises(BudgetChanged, match="it has 15, as this grant would have left it") as refused:
            desk.run(desk.ledger.grant(key, 5, expected_budget=10))
        assert (refused.value.key_id, refused.value.budget) == (key, 15)
        with pytest.raises(BudgetChanged, match="it has 15\\. Look at the key"):
            desk.run(desk.ledger.grant(key, 5, expected_budget=14))
        assert events(desk, key) == ["genesis", "grant"]
        assert_sound(desk)

    def test_totals_count_holds_and_those_whose_lease_has_ended(self, desk: Any) -> None:
        key = desk.new_key()
        desk.reserve(key, "a", "b")
        totals = desk.run(desk.ledger.totals(key))
        assert (totals.held_by_holds, totals.holds, totals.expired_holds) == (2, 1, 0)
        desk.clock.now_ms += LEASE_MS
        totals = desk.run(desk.ledger.totals(key))
        assert (totals.held_by_holds, totals.holds, totals.expired_holds) == (2, 1, 1)
        desk.run(desk.ledger.sweep())
        assert desk.run(desk.ledger.totals(key)).holds == 0

    def test_a_whole_store_has_no_fault(self, desk: Any) -> None:
        desk.buy(desk.new_key(), "a")
        assert desk.run(desk.ledger.health()) == []

    def test_a_revoked_key_gets_no_grant(self, desk: Any) -> None:
        key = desk.new_key()
        desk.run(desk.ledger.revoke(key))
        with pytest.raises(KeyRevoked):
            desk.run(desk.ledger.grant(key, 1))
        assert_sound(desk)


class TestReading:
    def test_a_chain_is_read_page_by_page(self, desk: Any) -> None:
        key = desk.new_key()
        for name in "abcde":
            desk.buy(key, name)
        links = desk.run(desk.ledger.links(key, limit=100))
        assert [entry.record["seq"] for entry in links] == list(range(6))
        assert desk.run(desk.ledger.links(key, after=1, limit=2)) == links[2:4]
        assert desk.run(desk.ledger.links(key, after=5)) == []

    def test_the_head_is_the_end_of_the_chain(self, desk: Any) -> None:
        key = desk.new_key(budget=4)
        settled = desk.buy(key, "a", "b")
        head = desk.run(desk.ledger.head(key))
        assert (head.key_id, head.seq, head.hash) == (key, 1, settled.link.hash)
        assert (head.used, head.budget) == (2, 4)

    def test_a_ping_to_a_healthy_store_is_silent(self, desk: Any) -> None:
        desk.run(desk.ledger.ping())


def test_a_ledger_stays_with_the_public_key_that_it_was_first_served_under(desk: Any) -> None:
    first, second = "a" * 64, "b" * 64
    assert desk.run(desk.ledger.bind(first)) == first
    assert desk.run(desk.ledger.bind(second)) == first
    assert desk.run(desk.ledger.bind(second, anew=True)) == second
    assert desk.run(desk.ledger.bind(first)) == second


class TestBadRequests:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"images": ()}, "asks for no image"),
            ({"images": ("0" * 64, "0" * 64)}, "names an image twice"),
            ({"images": ("0" * 63,)}, "not a SHA-256"),
            ({"images": ("A" * 64,)}, "not a SHA-256"),
            ({"teacher_revision": "latest"}, "not a SHA-256"),
            ({"request_id": ""}, "1 to 128 characters"),
            ({"request_id": "r" * 129}, "1 to 128 characters"),
            ({"request_id": "a\x00b"}, "cannot be printed"),
        ],
    )
    def test_what_could_not_be_recorded_is_refused_before_it_is_held(
        self, desk: Any, change: Any, reason: str
    ) -> None:
        key = desk.new_key()
        fields: Any = {
            "key_id": key,
            "request_id": "r",
            "teacher_revision": "0" * 64,
            "images": ("0" * 64,),
        }
        with pytest.raises(ValueError, match=reason):
            desk.run(desk.ledger.reserve(Reservation(**{**fields, **change})))
        assert desk.account(key).held == 0


class TestConcurrency:
    def test_many_tasks_never_spend_more_than_the_budget(self, desk: Any) -> None:
        """Invariant 1, for any number of concurrent clients of one process."""
        key = desk.new_key(budget=57)

        async def buy(name: str) -> int:
            reservation = desk.reservation(key, name, f"{name}'")
            try:
                hold = await desk.ledger.reserve(reservation)
            except BudgetExhausted:
                return 0
            return int((await desk.ledger.settle(hold, dict.fromkeys(reservation.images, "0" * 64))).charged)

        async def everybody() -> list[int]:
            return await asyncio.gather(*(buy(str(n)) for n in range(60)))

        assert sum(desk.run(everybody())) == 56
        assert desk.account(key).used == 56
        assert_sound(desk)

    def test_of_many_requests_for_one_image_exactly_one_pays(self, desk: Any) -> None:
        key = desk.new_key(budget=1)

        async def buy() -> tuple[int, int]:
            reservation = desk.reservation(key, "the same")
            try:
                hold = await desk.ledger.reserve(reservation)
            except InFlight:
                return 0, 1
            settled = await desk.ledger.settle(hold, dict.fromkeys(reservation.images, "0" * 64))
            return settled.charged, 0

        async def everybody() -> list[tuple[int, int]]:
            return await asyncio.gather(*(buy() for _ in range(40)))

        hold = desk.reserve(key, "the same")
        assert desk.run(everybody()) == [(0, 1)] * 40
        desk.release(hold)
        assert sum(charged for charged, _ in desk.run(everybody())) == 1
        assert desk.account(key).used == 1

    def test_a_cancelled_reserve_leaves_no_hold_behind(self, desk: Any) -> None:
        key = desk.new_key(budget=3)

        async def give_up() -> None:
            waiting = asyncio.ensure_future(desk.ledger.reserve(desk.reservation(key, "a", "b")))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            for _ in range(100):  # the release follows by itself
                await desk.ledger.sweep()
                if (await desk.ledger.key(key)).held == 0 and (await desk.ledger.totals(key)).holds == 0:
                    return

        desk.run(give_up())
        assert desk.account(key).held == 0
        assert desk.buy(key, "a").charged == 1
