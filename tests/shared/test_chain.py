"""The chain accepts what a correct ledger writes, and names the first record of anything else."""

import copy
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.chain import (
    ZERO_HASH,
    ChainBroken,
    Link,
    canonical_record,
    chain_hash,
    parse_event,
    verify_chain,
    window_end_ms,
    window_index,
    window_start_ms,
)

Records = list[dict[str, Any]]


def rehash(records: Records) -> list[Link]:
    """A chain over ``records`` whose hashes are right: what a forger with access to the file could write."""
    links: list[Link] = []
    for record in records:
        previous = links[-1].hash if links else ZERO_HASH
        links.append(Link(record, chain_hash(previous, canonical_record(record))))
    return links


def records_of(links: list[Link]) -> Records:
    return [copy.deepcopy(dict(entry.record)) for entry in links]


def refusal(links: list[Link]) -> ChainBroken:
    with pytest.raises(ChainBroken) as caught:
        verify_chain(links)
    return caught.value


def test_a_chain_adds_up_to_its_account(busy_story: Any) -> None:
    account = verify_chain(busy_story.links)
    assert (account.budget, account.used, account.replayed, account.remaining) == (5, 4, 2, 1)
    assert (account.seq, account.head) == (4, busy_story.links[-1].hash)
    assert len(account.charged_images) == 4
    assert not account.revoked


def test_a_chain_may_be_verified_page_by_page(busy_story: Any) -> None:
    account = verify_chain(busy_story.links[:2])
    assert verify_chain(busy_story.links[2:], account) == verify_chain(busy_story.links)


def test_the_hash_is_the_documented_one(busy_story: Any) -> None:
    """Computed here from the formula alone, with the standard library's JSON."""
    import hashlib

    previous = bytes(32)
    for entry in busy_story.links:
        canonical = json.dumps(
            entry.record, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()
        previous = hashlib.sha256(b"\x01" + previous + canonical).digest()
        assert entry.hash == previous.hex()


def test_nothing_is_not_a_chain() -> None:
    assert "is missing" in str(refusal([]))


def test_an_edit_is_found_at_its_record(busy_story: Any) -> None:
    for position in range(len(busy_story.links)):
        records = records_of(busy_story.links)
        records[position]["at_ms"] += 1
        edited = [Link(r, entry.hash) for r, entry in zip(records, busy_story.links, strict=True)]
        assert refusal(edited).seq == position


def test_a_dropped_record_is_found_where_it_was(busy_story: Any) -> None:
    for position in range(len(busy_story.links) - 1):
        assert refusal(busy_story.links[:position] + busy_story.links[position + 1 :]).seq == position


def test_swapped_records_are_found_at_the_first(busy_story: Any) -> None:
    for position in range(len(busy_story.links) - 1):
        swapped = list(busy_story.links)
        swapped[position : position + 2] = reversed(swapped[position : position + 2])
        assert refusal(swapped).seq == position


def test_a_repeated_record_is_found(busy_story: Any) -> None:
    assert refusal([*busy_story.links, busy_story.links[-1]]).seq == 5


def test_a_cut_tail_still_verifies_which_is_why_heads_and_receipts_are_signed(busy_story: Any) -> None:
    cut = verify_chain(busy_story.links[:-1])
    assert cut.head != busy_story.account.head


def test_a_fork_shares_its_beginning_and_not_its_head(story: Callable[..., Any]) -> None:
    one, other = story(), story()
    one.settle(["a"])
    other.settle(["a"])
    one.settle(["b"])
    other.settle(["c"])
    assert one.links[:2] == other.links[:2]
    assert one.account.head != other.account.head
    assert refusal([*one.links, other.links[-1]]).seq == 3


def test_a_tail_of_another_key_cannot_be_spliced_on(story: Callable[..., Any]) -> None:
    mine, theirs = story(key_id="mine"), story(key_id="theirs")
    for each in (mine, theirs):
        each.settle(["a"])
        each.settle(["b"])
    spliced = [*mine.links[:2], theirs.links[2]]
    assert "does not follow" in refusal(spliced).reason
    assert "belongs to key theirs" in refusal(rehash(records_of(spliced))).reason


@pytest.mark.parametrize(
    ("position", "change", "reason"),
    [
        (0, {"kind": "grant", "amount": 1, "budget_after": 1}, "is not a ledger event"),
        (1, {"seq": 2}, "carries sequence number 2"),
        (1, {"charged": 1}, "counts disagree"),
        (1, {"charged": 1, "replayed": 1}, "counts disagree"),
        (1, {"used_after": 1}, "says 1 queries are used, they are 2"),
        (2, {"budget_after": 6}, "says the budget is 6, it is 5"),
        (2, {"amount": 0}, "is not a ledger event"),
        (2, {"amount": -2}, "is not a ledger event"),
        (3, {"key_id": "other"}, "belongs to key other"),
        (3, {"kind": "refund"}, "is not a ledger event"),
        (3, {"items": []}, "is not a ledger event"),
        (3, {"note": "hello"}, "is not a ledger event"),
        (3, {"teacher_revision": "A" * 64}, "is not a ledger event"),
        (4, {"replayed": True}, "is not a ledger event"),
        (4, {"replayed": 1.0}, "is not a ledger event"),
        (4, {"replayed": "1"}, "is not a ledger event"),
        (4, {"seq": 2**53}, "is not a ledger event"),
        (4, {"seq": 2**70}, "is not a ledger event"),
        (4, {"request_id": ""}, "is not a ledger event"),
        (4, {"request_id": "\ud800"}, "is not a ledger event"),
    ],
)
def test_a_forged_record_with_right_hashes_is_found(
    busy_story: Any, position: int, change: dict[str, Any], reason: str
) -> None:
    records = records_of(busy_story.links)
    records[position].update(change)
    try:
        links = rehash(records)
    except TypeError:  # has no canonical form at all
        links = [Link(r, entry.hash) for r, entry in zip(records, busy_story.links, strict=True)]
    error = refusal(links)
    assert error.seq == position
    assert reason in error.reason


def test_every_member_of_every_record_is_needed(busy_story: Any) -> None:
    for position, record in enumerate(records_of(busy_story.links)):
        for member in record:
            records = records_of(busy_story.links)
            del records[position][member]
            if (record["kind"], member) == ("genesis", "window"):
                assert verify_chain(rehash(records)).window == "total", "chains of older ledgers have none"
            else:
                assert refusal(rehash(records)).seq == position, member


def test_a_second_genesis_is_refused(busy_story: Any) -> None:
    records = records_of(busy_story.links)
    records.append({**records[0], "seq": 5})
    assert "second genesis" in refusal(rehash(records)).reason


def test_an_image_is_never_charged_twice_under_distinct_billing(story: Callable[..., Any]) -> None:
    twice = story()
    twice.settle(["a"])
    twice.settle(["a"])
    assert "charges image" in refusal(twice.links).reason


def test_each_revision_of_the_teacher_is_charged_apart(story: Callable[..., Any]) -> None:
    both = story()
    both.settle(["a"])
    both.settle(["a"], revision="1" * 64)
    assert both.account.used == 2


def test_every_call_billing_may_charge_an_image_again(story: Callable[..., Any]) -> None:
    calls = story(billing="every-call")
    calls.settle(["a"])
    calls.settle(["a", "b"])
    calls.settle([], ["a"])
    assert (calls.account.used, calls.account.replayed) == (3, 1)


@pytest.mark.parametrize("billing", ["distinct", "every-call"])
def test_an_image_that_was_never_charged_cannot_be_replayed(story: Callable[..., Any], billing: str) -> None:
    free = story(billing=billing)
    free.settle(["a"], ["b"])
    assert "never charged" in refusal(free.links).reason


def test_an_image_bought_of_one_revision_cannot_be_replayed_of_another(story: Callable[..., Any]) -> None:
    other = story()
    other.settle(["a"])
    other.settle([], ["a"], revision="1" * 64)
    assert "never charged" in refusal(other.links).reason


def test_a_request_lists_an_image_once(story: Callable[..., Any]) -> None:
    doubled = story()
    doubled.settle(["a"], ["a"])
    assert refusal(doubled.links).seq == 1


def test_no_more_than_the_budget_is_spent(story: Callable[..., Any]) -> None:
    over = story(budget=1)
    over.settle(["a", "b"])
    assert "spends 2 of a budget of 1" in refusal(over.links).reason


def test_a_budget_of_nothing_is_a_chain_too(story: Callable[..., Any]) -> None:
    assert story(budget=0).account.remaining == 0


@pytest.mark.parametrize("what", ["settle", "grant", "revoke"])
def test_nothing_follows_a_revocation(story: Callable[..., Any], what: str) -> None:
    ended = story()
    ended.revoke()
    assert ended.account.revoked
    {"settle": lambda: ended.settle(["a"]), "grant": lambda: ended.grant(1), "revoke": ended.revoke}[what]()
    error = refusal(ended.links)
    assert (error.seq, error.reason) == (2, f"is a {what} event after the key was revoked")


def test_a_record_that_is_not_an_object_is_refused() -> None:
    for value in ([], None, "genesis", 7):
        assert refusal([Link(value, ZERO_HASH)]).seq == 0  # type: ignore[arg-type]


def test_one_content_has_one_canonical_form_whatever_the_order_of_members(busy_story: Any) -> None:
    record = dict(busy_story.links[3].record)
    shuffled = {name: record[name] for name in sorted(record, reverse=True)}
    assert canonical_record(shuffled) == canonical_record(record)
    assert b" " not in canonical_record(busy_story.links[0].record)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(["kind", "key_id", "seq", "at_ms", "items", "x"]), JSON, max_size=6))
def test_whatever_arrives_is_refused_as_a_broken_chain_and_nothing_else(record: dict[str, Any]) -> None:
    with pytest.raises(ChainBroken):
        parse_event(record, 0)


@settings(max_examples=150)
@given(data=st.data())
def test_any_change_of_any_value_breaks_the_chain(data: st.DataObject, chain_of_three: list[Link]) -> None:
    position = data.draw(st.integers(0, 2))
    records = records_of(chain_of_three)
    path = data.draw(st.sampled_from(list(_leaves(records[position]))))
    holder: Any = records[position]
    for step in path[:-1]:
        holder = holder[step]
    old = holder[path[-1]]
    new = data.draw(JSON)
    holder[path[-1]] = new
    links = [Link(r, entry.hash) for r, entry in zip(records, chain_of_three, strict=True)]
    if orjson.dumps(old) == orjson.dumps(new):
        verify_chain(links)
    else:
        assert refusal(links).seq == position


@pytest.fixture(scope="module")
def chain_of_three() -> list[Link]:
    digest = "ab" * 32
    common = {"key_id": "k", "at_ms": 5}
    items = [{"image": digest, "descriptor": digest, "charged": True}]
    settle = {"kind": "settle", "request_id": "r", "teacher_revision": digest, "charged": 1, "replayed": 0}
    return rehash(
        [
            {"kind": "genesis", "seq": 0, "name": "n", "budget": 2, "billing": "distinct", **common},
            {"kind": "grant", "seq": 1, "amount": 1, "budget_after": 3, **common},
            {**settle, "seq": 2, "used_after": 1, "items": items, **common},
        ]
    )


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Any:
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _leaves(value[key], (*path, key))
    else:
        yield path


class TestWindows:
    """A budget of 2 for each hour of UTC, from half past the first hour on."""

    HOUR_MS = 3_600_000

    @pytest.fixture
    def hourly(self, story: Callable[..., Any]) -> Any:
        return story(budget=2, window="hour", now_ms=self.HOUR_MS // 2)

    def test_each_allows_the_budget_anew(self, hourly: Any) -> None:
        for number in range(3):
            hourly.settle([f"{number} a", f"{number} b"])
            hourly.now_ms += self.HOUR_MS
        account = hourly.account
        assert (account.budget, account.window, account.used) == (2, "hour", 6)
        assert (account.window_index, account.used_in_window, account.remaining) == (2, 2, 0)

    def test_an_overspent_one_is_found_where_it_happened(self, hourly: Any) -> None:
        hourly.settle(["a", "b"])
        hourly.now_ms += self.HOUR_MS
        hourly.settle(["c"])
        hourly.settle(["d", "e"])
        hourly.now_ms += self.HOUR_MS
        hourly.settle(["f"])
        error = refusal(hourly.links)
        assert (error.seq, error.reason) == (3, "spends 3 of a budget of 2")

    def test_a_settle_that_is_dated_back_counts_in_the_latest(self, hourly: Any) -> None:
        """Otherwise a clock set back, or a forger, would open an old window a second time."""
        hourly.settle(["a"])
        hourly.now_ms += self.HOUR_MS
        hourly.settle(["b"])
        hourly.now_ms -= self.HOUR_MS
        hourly.settle(["c"])
        assert (hourly.account.window_index, hourly.account.used_in_window) == (1, 2)
        hourly.settle(["d"])
        assert refusal(hourly.links).seq == 4

    def test_a_replay_begins_one_and_charges_nothing_in_it(self, hourly: Any) -> None:
        hourly.settle(["a", "b"])
        hourly.now_ms += self.HOUR_MS
        hourly.settle([], ["a"])
        assert (hourly.account.window_index, hourly.account.used_in_window) == (1, 0)
        hourly.now_ms -= self.HOUR_MS
        hourly.settle(["c", "d"])
        assert hourly.account.used_in_window == 2

    def test_a_grant_raises_the_current_and_all_later_ones(self, hourly: Any) -> None:
        hourly.settle(["a", "b"])
        hourly.grant(1)
        hourly.settle(["c"])
        hourly.now_ms += self.HOUR_MS
        hourly.settle(["d", "e", "f"])
        assert hourly.account.remaining == 0
        hourly.settle(["g"])
        assert refusal(hourly.links).reason == "spends 4 of a budget of 3"

    def test_begin_with_the_creation_of_the_key(self, story: Callable[..., Any]) -> None:
        """A settle that is dated before the genesis finds the window of the genesis."""
        early = story(budget=1, window="hour", now_ms=5 * self.HOUR_MS)
        early.now_ms = 0
        early.settle(["a"])
        assert (early.account.window_index, early.account.used_in_window) == (5, 1)
        early.now_ms = 4 * self.HOUR_MS
        early.settle(["b"])
        assert refusal(early.links).seq == 2

    def test_an_unknown_one_is_no_ledger_event(self, hourly: Any) -> None:
        records = records_of(hourly.links)
        records[0]["window"] = "week"
        assert "is not a ledger event" in refusal(rehash(records)).reason


def test_windows_are_those_of_utc() -> None:
    midnight_ms = 1_700_006_400_000
    assert window_index("day", midnight_ms) == window_index("day", midnight_ms - 1) + 1
    assert window_start_ms("day", window_index("day", midnight_ms + 5)) == midnight_ms
    assert window_end_ms("day", midnight_ms - 1) == midnight_ms
    assert window_end_ms("day", midnight_ms) == midnight_ms + 24 * 3_600_000
    assert window_end_ms("hour", midnight_ms) == midnight_ms + 3_600_000
    assert (window_index("total", midnight_ms), window_end_ms("total", midnight_ms)) == (0, None)
