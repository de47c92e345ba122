"""A budget that each day renews: a fetch spends what the day allows, says when it can go on, and goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from student_trainer.acquire import audit, session
from student_trainer.acquire.client import Access
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.outbox import Outbox
from student_trainer.acquire.quote import Quote
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import BudgetTooSmall
from student_trainer.run_folder import RunFolder

Planned = Callable[..., RunFolder]
Buy = Callable[..., Outcome]
DAY_MS = 86_400_000
KEY = "rtn_k2_secret"
NEXT_DAY_MS = 1_700_006_400_000
NEXT_DAY = "2023-11-15 00:00 UTC"


@pytest.fixture
def daily(teacher: Any) -> Callable[..., Any]:
    """``daily(budget)`` gives the key k2 so many queries a day; its first day is 2023-11-14."""
    return lambda budget, **facts: teacher.add_key(KEY, budget=budget, window="day", **facts)


def quote_of(run: RunFolder, teacher: Any) -> Quote:
    with TransferSet.open(run.transfer_set) as transfer_set:
        return session.quote(transfer_set, Access(teacher.url, KEY))


def held(run: RunFolder) -> int:
    with TransferSet.open(run.transfer_set) as transfer_set:
        return len(transfer_set.bought().images)


def unanswered(run: RunFolder) -> int:
    with TransferSet.open(run.transfer_set) as transfer_set:
        return len(Outbox(transfer_set).unanswered())


@pytest.mark.parametrize("billing", ["distinct", "every-call"])
def test_a_plan_of_three_days_is_bought_to_the_last_query_of_each(
    teacher: Any, planned: Planned, buy: Buy, daily: Callable[..., Any], billing: str
) -> None:
    """12 images, 5 a day, requests of 4: what a whole request leaves over is spent by smaller ones."""
    key, run = daily(5, billing=billing), planned(queries=12)
    for day, (charged, remaining) in enumerate(((5, 0), (5, 0), (2, 3))):
        outcome = buy(run, api_key=KEY, batch=4, concurrency=3)
        ended = None if day == 2 else NEXT_DAY_MS + day * DAY_MS
        assert (outcome.charged, outcome.remaining, outcome.exhausted_until_ms) == (charged, remaining, ended)
        assert unanswered(run) == 0
        key.now_ms += DAY_MS
    assert (key.used, held(run)) == (12, 12)


def test_the_certificate_of_three_days_tells_what_each_allowed(
    teacher: Any, planned: Planned, buy: Buy, daily: Callable[..., Any]
) -> None:
    key, run = daily(5), planned(queries=12)
    for _ in range(3):
        buy(run, api_key=KEY)
        key.now_ms += DAY_MS
    with TransferSet.open(run.transfer_set) as transfer_set:
        links, head = session.ledger(Access(teacher.url, KEY))
        certificate = audit.audit(transfer_set, links, head)
        found = audit.verify(certificate, teacher.public_key, "the test", transfer_set)
    assert found.verified.statement.startswith(
        "12 queries spent by key k2 (budget 5/day) for 12 distinct images"
    )


def test_a_day_smaller_than_a_request_makes_the_requests_smaller(
    teacher: Any, planned: Planned, buy: Buy, daily: Callable[..., Any]
) -> None:
    daily(3, billing="every-call")
    run = planned(queries=7)
    assert buy(run, api_key=KEY, batch=16).charged == 3
    assert max(len(request.images) for request in teacher.seen) == 3


def test_a_day_in_which_nothing_is_left_is_refused_before_anything_is_sent(
    teacher: Any, planned: Planned, buy: Buy, daily: Callable[..., Any]
) -> None:
    daily(5)
    run = planned(queries=7)
    buy(run, api_key=KEY)
    sent = len(teacher.seen)
    with pytest.raises(BudgetTooSmall) as refused:
        buy(run, api_key=KEY)
    assert str(refused.value) == (
        "The plan still needs 2 queries; key k2 has 0 of 5 left. Nothing was spent. Its budget is 5/day: run "
        f"the same command again from {NEXT_DAY}, or ask the teacher's owner for a grant."
    )
    assert len(teacher.seen) == sent


def test_a_budget_of_nothing_a_day_promises_no_other_day(
    teacher: Any, planned: Planned, buy: Buy, daily: Callable[..., Any]
) -> None:
    daily(0)
    with pytest.raises(BudgetTooSmall, match=r"Ask the teacher's owner for a grant, or plan fewer\.$"):
        buy(planned(queries=1), api_key=KEY)


def test_a_grant_in_the_same_day_lets_the_fetch_go_on(
    teacher: Any, planned: Planned, buy: Buy, daily: Callable[..., Any]
) -> None:
    key, run = daily(5), planned(queries=7)
    buy(run, api_key=KEY)
    key.grant(2)
    outcome = buy(run, api_key=KEY)
    assert (outcome.charged, outcome.remaining, outcome.exhausted_until_ms) == (2, 0, None)


def test_a_midnight_in_the_middle_of_a_fetch_is_not_even_noticed(
    teacher: Any, planned: Planned, buy: Buy, daily: Callable[..., Any]
) -> None:
    key, run = daily(5), planned(queries=8)

    def strike_twelve() -> None:
        if len(teacher.seen) == 5:
            key.now_ms = NEXT_DAY_MS

    teacher.on_request = strike_twelve
    outcome = buy(run, api_key=KEY, batch=1, concurrency=1)
    assert (outcome.charged, outcome.remaining, outcome.exhausted_until_ms) == (8, 1, None)


def test_what_was_paid_for_is_delivered_although_the_day_is_spent(
    teacher: Any, planned: Planned, buy: Buy, daily: Callable[..., Any]
) -> None:
    """The transfer set was lost with the five descriptors that the day allowed."""
    daily(5)
    run = planned(queries=5)
    buy(run, api_key=KEY)
    run.transfer_set.unlink()
    run = planned(queries=5, images=5)
    outcome = buy(run, api_key=KEY)
    assert (outcome.charged, outcome.replayed, outcome.exhausted_until_ms) == (0, 5, None)


def test_what_was_paid_for_is_asked_for_first(
    teacher: Any, planned: Planned, buy: Buy, daily: Callable[..., Any]
) -> None:
    daily(5)
    run = planned(queries=8)
    buy(run, api_key=KEY)
    run.transfer_set.unlink()
    run = planned(queries=8)
    quote = quote_of(run, teacher)
    assert (quote.paid, quote.cost, quote.cost_now) == (5, 3, 0)
    outcome = buy(run, api_key=KEY, batch=5, concurrency=1)
    assert (outcome.charged, outcome.replayed, outcome.exhausted_until_ms) == (0, 5, NEXT_DAY_MS)
    assert held(run) == 5


def test_billed_per_call_a_request_that_may_be_paid_is_kept_as_it_was(
    teacher: Any, planned: Planned, buy: Buy, daily: Callable[..., Any]
) -> None:
    """Its first try was lost, its second refused: asked for elsewhere, its images could be paid twice."""
    key, run = daily(5, billing="every-call"), planned(queries=3)
    nothing_said = teacher.refusal(502, "overloaded")
    nothing_said.body = b"<html>bad gateway</html>"
    nothing_said.headers["content-length"] = str(len(nothing_said.body))
    teacher.script.append(nothing_said)
    teacher.script.append(teacher.refusal(429, "insufficient_quota", None, 1, x_should_retry="false"))
    outcome = buy(run, api_key=KEY, batch=3, concurrency=1)
    assert (outcome.charged, unanswered(run)) == (0, 1)
    first = teacher.seen[0].idempotency_key
    buy(run, api_key=KEY, batch=3, concurrency=1)
    assert teacher.seen[-1].idempotency_key == first
    assert (key.used, held(run)) == (3, 3)


def test_the_quote_tells_what_is_spent_now_and_what_must_wait(
    teacher: Any, planned: Planned, daily: Callable[..., Any]
) -> None:
    daily(50)
    quote = quote_of(planned(queries=120), teacher)
    assert (quote.cost, quote.cost_now) == (120, 50)
    assert (
        f"This will spend 50 queries of the 50 that key k2 has left until {NEXT_DAY} (its budget is 50/day); "
        "70 more must wait: run the same command again then."
    ) in quote.text(Path("transfer_set.sqlite"))
    result = quote.result()
    assert (result["cost_now"], result["window"], result["window_ends_at_ms"]) == (50, "day", NEXT_DAY_MS)
