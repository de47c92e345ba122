"""Spending the budget: every image once, whatever the service and the network do."""

import sqlite3
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi import Response
from nacl.signing import SigningKey

from student_trainer.acquire import session
from student_trainer.acquire.client import Access, Patience
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.purpose import EVALUATION
from student_trainer.acquire.quote import Quote
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import (
    BudgetTooSmall,
    InvalidInput,
    RevisionChanged,
    ServiceRefused,
    VerificationFailed,
)
from student_trainer.run_folder import RunFolder

Planned = Callable[..., RunFolder]
Buy = Callable[..., Outcome]


def held(run: RunFolder) -> dict[str, np.ndarray]:
    with TransferSet.open(run.transfer_set) as transfer_set:
        bought = transfer_set.bought()
        return dict(zip(bought.images, bought.vectors, strict=True))


def assert_complete(run: RunFolder, teacher: Any, n: int, api_key: str = "rtn_k1_secret") -> None:
    """n descriptors are held, they are the teacher's, and the key was charged for exactly them."""
    descriptors = held(run)
    assert len(descriptors) == n
    assert all((row == teacher.vector(image)).all() for image, row in descriptors.items())
    key = teacher.keys[api_key]
    assert key.used == n
    assert {image for _, image in key.charged} == set(descriptors)


def test_everything_planned_is_bought_once_and_stored_as_it_was_sent(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=20, images=25)
    outcome = buy(run, batch=3, concurrency=4)
    assert (outcome.charged, outcome.replayed, outcome.remaining) == (20, 0, 980)
    assert_complete(run, teacher, 20)
    assert all(len(request.images) <= 3 for request in teacher.seen)
    assert {request.accept for request in teacher.seen} == {"application/octet-stream"}
    assert {media for request in teacher.seen for media in request.media_types} == {"image/png"}


def test_descriptors_come_back_in_the_order_of_choice_whatever_the_order_of_arrival(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=12)
    with TransferSet.open(run.transfer_set) as transfer_set:
        chosen = [image.digest for image in transfer_set.chosen()]
    buy(run, batch=1, concurrency=4)
    assert list(held(run)) == chosen


def test_the_teacher_is_pinned_before_the_first_query(teacher: Any, planned: Planned, buy: Buy) -> None:
    run = planned(queries=3)
    pinned = []

    def look() -> None:
        with sqlite3.connect(f"file:{run.transfer_set}?mode=ro", uri=True) as connection:
            pinned.extend(connection.execute("SELECT value FROM facts WHERE name = 'teacher'").fetchall())

    teacher.on_request = look
    buy(run)
    assert pinned
    with TransferSet.open(run.transfer_set) as transfer_set:
        assert transfer_set.teacher is not None
        assert transfer_set.teacher.revision == teacher.revision
        assert transfer_set.teacher.description == teacher.description


def test_a_request_is_written_down_before_it_is_sent(teacher: Any, planned: Planned, buy: Buy) -> None:
    run = planned(queries=4)
    noted: list[set[str]] = []

    def look() -> None:
        with sqlite3.connect(f"file:{run.transfer_set}?mode=ro", uri=True) as connection:
            noted.append({row[0] for row in connection.execute("SELECT idempotency_key FROM requests")})

    teacher.on_request = look
    buy(run, batch=2, concurrency=1)
    assert all(request.idempotency_key in keys for request, keys in zip(teacher.seen, noted, strict=True))


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "overloaded"), (503, "ledger_unavailable"), (409, "request_in_flight"), (500, "internal_error")],
)
def test_a_failure_that_passes_is_tried_again_unchanged(
    teacher: Any, planned: Planned, buy: Buy, status: int, code: str
) -> None:
    run = planned(queries=4)
    teacher.script.extend([teacher.refusal(status, code, retry_after_ms="5")] * 3)
    outcome = buy(run, batch=4)
    assert outcome.charged == 4
    assert len(teacher.seen) == 4
    assert len({request.idempotency_key for request in teacher.seen}) == 1
    assert_complete(run, teacher, 4)


def test_a_rate_limit_is_waited_out_and_does_not_wear_out_patience(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=3)
    teacher.script.extend([teacher.refusal(429, "rate_limit_exceeded", retry_after_ms="20")] * 6)
    outcome = buy(run, patience=Patience(give_up_after_s=0.05))
    assert outcome.charged == 3


def test_a_connection_that_breaks_after_the_charge_is_replayed_free(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=6)
    teacher.script.append(teacher.cut_short)
    outcome = buy(run, batch=3, concurrency=1)
    assert (outcome.charged, outcome.replayed) == (3, 3)
    assert teacher.seen[0].images == teacher.seen[1].images
    assert_complete(run, teacher, 6)


def test_billed_per_call_the_same_idempotency_key_makes_the_retry_free(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    teacher.add_key("rtn_k2_secret", billing="every-call")
    run = planned(queries=6)
    teacher.script.append(teacher.cut_short)
    outcome = buy(run, api_key="rtn_k2_secret", batch=3, concurrency=1)
    assert (outcome.charged, outcome.replayed) == (3, 3)
    assert_complete(run, teacher, 6, "rtn_k2_secret")


def test_a_final_refusal_is_not_tried_again_and_keeps_what_is_held(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=4)
    teacher.script.extend([lambda response: response, teacher.refusal(403, "invalid_request")])
    with pytest.raises(ServiceRefused, match=r"for good \(403, invalid_request"):
        buy(run, batch=2, concurrency=1)
    assert len(teacher.seen) == 2
    assert len(held(run)) == 2
    buy(run, batch=2)
    assert_complete(run, teacher, 4)


def test_an_exhausted_budget_is_never_tried_again(teacher: Any, planned: Planned, buy: Buy) -> None:
    run = planned(queries=4)
    teacher.script.append(teacher.refusal(429, "insufficient_quota", x_should_retry="false", retry_after="0"))
    with pytest.raises(BudgetTooSmall, match="told insufficient_quota"):
        buy(run, batch=4)
    assert len(teacher.seen) == 1


def test_a_key_that_cannot_pay_is_refused_before_anything_is_sent(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    teacher.add_key("rtn_k2_secret", budget=9)
    run = planned(queries=10)
    with pytest.raises(BudgetTooSmall, match=r"needs 10 queries; key k2 has 9 of 9 left\. Nothing was spent"):
        buy(run, api_key="rtn_k2_secret")
    assert teacher.seen == []


def test_a_grant_lets_the_same_plan_go_on(teacher: Any, planned: Planned, buy: Buy) -> None:
    key = teacher.add_key("rtn_k2_secret", budget=9)
    run = planned(queries=10)
    with pytest.raises(BudgetTooSmall):
        buy(run, api_key="rtn_k2_secret")
    key.grant(1)
    outcome = buy(run, api_key="rtn_k2_secret")
    assert outcome.remaining == 0
    assert_complete(run, teacher, 10, "rtn_k2_secret")


@pytest.mark.parametrize("billing", ["distinct", "every-call"])
def test_a_budget_that_is_spent_to_the_last_query_does_not_stop_a_lost_answer(
    teacher: Any, planned: Planned, buy: Buy, billing: str
) -> None:
    """Charged, but the answer was lost and the client died: nothing is left and 3 descriptors are missing."""
    teacher.add_key("rtn_k2_secret", budget=6, billing=billing)
    run = planned(queries=6)
    teacher.script.extend([lambda response: response, drop_and_refuse(teacher)])
    with pytest.raises(ServiceRefused):
        buy(run, api_key="rtn_k2_secret", batch=3, concurrency=1)
    assert teacher.keys["rtn_k2_secret"].used == 6
    outcome = buy(run, api_key="rtn_k2_secret", batch=3)
    assert (outcome.charged, outcome.replayed, outcome.remaining) == (0, 3, 0)
    assert_complete(run, teacher, 6, "rtn_k2_secret")


def drop_and_refuse(teacher: Any) -> Callable[[Response], Response]:
    """Settled, but what arrives is a refusal: for the client, the answer is lost."""
    return lambda response: teacher.refusal(418, "invalid_request")


def test_holds_of_a_killed_fetch_do_not_count_as_spent(teacher: Any, planned: Planned, buy: Buy) -> None:
    """The service still works on what the last fetch asked for: its hold is ours and will be our charge."""
    key = teacher.add_key("rtn_k2_secret", budget=6)
    run = planned(queries=6)
    teacher.script.append(teacher.refusal(418, "invalid_request"))
    with pytest.raises(ServiceRefused):
        buy(run, api_key="rtn_k2_secret", batch=3, concurrency=1)
    key.held = 3
    buy(run, api_key="rtn_k2_secret", batch=3)
    assert_complete(run, teacher, 6, "rtn_k2_secret")


def test_a_lost_transfer_set_is_fetched_again_for_free(teacher: Any, planned: Planned, buy: Buy) -> None:
    teacher.add_key("rtn_k2_secret", budget=5)
    run = planned(queries=5)
    buy(run, api_key="rtn_k2_secret")
    run.transfer_set.unlink()
    run = planned(queries=5)
    outcome = buy(run, api_key="rtn_k2_secret")
    assert (outcome.charged, outcome.replayed) == (0, 5)
    assert_complete(run, teacher, 5, "rtn_k2_secret")


def quote_of(run: RunFolder, teacher: Any) -> Quote:
    with TransferSet.open(run.transfer_set) as transfer_set:
        return session.quote(transfer_set, Access(teacher.url, "rtn_k1_secret"))


def test_the_quote_counts_what_a_lost_transfer_set_paid_for_although_the_key_has_plenty_left(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=5)
    buy(run)
    run.transfer_set.unlink()
    quote = quote_of(planned(queries=5), teacher)
    assert (quote.missing, quote.paid, quote.cost, quote.elsewhere) == (5, 5, 0, 0)
    assert "audit will not certify" not in quote.text(run.transfer_set)


def test_the_quote_warns_when_the_key_was_used_for_another_run(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=5)
    buy(run)
    run.transfer_set.unlink()
    quote = quote_of(planned(queries=3), teacher)
    assert (quote.missing, quote.paid, quote.cost, quote.elsewhere) == (3, 3, 0, 2)
    assert "charged for 2 images that are not in this transfer set; the audit" in quote.text(run.transfer_set)


@pytest.fixture
def evaluation_quote(teacher: Any) -> Callable[..., Quote]:
    """A function that asks for the terms of an evaluation's purchase."""

    def ask(run: RunFolder, api_key: str = "rtn_k1_secret") -> Quote:
        with TransferSet.open(run.transfer_set) as wanted:
            return session.quote(wanted, Access(teacher.url, api_key), purpose=EVALUATION)

    return ask


def test_an_evaluation_is_not_warned_of_an_audit_that_nobody_makes(
    planned: Planned, buy: Buy, evaluation_quote: Callable[..., Quote]
) -> None:
    run = planned(queries=5)
    buy(run)
    run.transfer_set.unlink()
    quote = evaluation_quote(planned(queries=3))
    assert quote.elsewhere == 2
    assert "audit" not in quote.text(run.evaluation_set)
    assert "each run folder" not in quote.text(run.evaluation_set)


def test_what_an_evaluation_lacks_is_told_in_its_own_words(
    teacher: Any, planned: Planned, buy: Buy, evaluation_quote: Callable[..., Quote]
) -> None:
    run = planned(queries=4)
    key = teacher.add_key("rtn_k9_secret", budget=2)
    with pytest.raises(
        BudgetTooSmall, match=r"^The evaluation still needs 4 .*or evaluate on fewer images\.$"
    ):
        evaluation_quote(run, "rtn_k9_secret")
    key.revoked = True
    with pytest.raises(ServiceRefused, match=r"with it, move evaluation_set\.sqlite elsewhere"):
        evaluation_quote(run, "rtn_k9_secret")
    buy(run)
    with pytest.raises(
        InvalidInput, match=r"This evaluation set belongs to API key k1.* move evaluation_set"
    ):
        evaluation_quote(run, "rtn_k9_secret")
    teacher.weights = "second"
    with pytest.raises(RevisionChanged, match=r"this evaluation set was bought from .* move evaluation_set"):
        evaluation_quote(run)
    teacher.signing_key = SigningKey(b"\x08" * 32)
    with pytest.raises(VerificationFailed, match="the one that this evaluation set was bought from"):
        evaluation_quote(run)


def test_an_image_that_the_teacher_cannot_read_is_left_out_and_the_others_are_bought(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=7)
    with TransferSet.open(run.transfer_set) as transfer_set:
        bad = transfer_set.chosen()[2]
    teacher.unreadable = {bad.digest}
    outcome = buy(run, batch=4)
    assert list(outcome.refused) == [bad.path]
    assert "told invalid_image" in outcome.refused[bad.path]
    assert_complete(run, teacher, 6)
    with TransferSet.open(run.transfer_set) as transfer_set:
        assert transfer_set.summary().complete
    requests = {request.idempotency_key: request.images for request in teacher.seen}
    assert len(requests) == len(teacher.seen)


def test_requests_that_are_too_large_are_sent_again_in_halves(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=8)
    teacher.script.append(teacher.refusal(413, "request_too_large"))
    buy(run, batch=8, concurrency=1)
    assert [len(request.images) for request in teacher.seen] == [8, 4, 4]
    assert_complete(run, teacher, 8)


def test_requests_stay_within_the_limits_and_the_rate_of_the_key(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    teacher.limits["max_images_per_request"] = 5
    teacher.add_key("rtn_k2_secret", rate="3/second")
    run = planned(queries=10)
    buy(run, batch=64, concurrency=1)
    assert max(len(request.images) for request in teacher.seen) == 5
    run.transfer_set.unlink()
    teacher.seen.clear()
    buy(planned(queries=10), api_key="rtn_k2_secret", batch=64)
    assert max(len(request.images) for request in teacher.seen) == 3


def test_requests_stay_within_the_limit_of_bytes(teacher: Any, planned: Planned, buy: Buy) -> None:
    run = planned(queries=6)
    with TransferSet.open(run.transfer_set) as transfer_set:
        largest = max(image.bytes for image in transfer_set.chosen())
    teacher.limits["max_request_bytes"] = 2 * (largest + 1024)
    buy(run, batch=64)
    assert max(len(request.images) for request in teacher.seen) == 2


def test_a_file_that_changed_or_vanished_is_named_and_never_sent(
    teacher: Any, planned: Planned, buy: Buy, write_image: Callable[..., str]
) -> None:
    run = planned(queries=6)
    with TransferSet.open(run.transfer_set) as transfer_set:
        changed, gone = transfer_set.chosen()[1:3]
    write_image(changed.path, seed=999)
    gone.path.unlink()
    outcome = buy(run, batch=3)
    assert set(outcome.changed) == {changed.path, gone.path}
    assert "cannot be read" in outcome.changed[gone.path]
    sent = {image for request in teacher.seen for image in request.images}
    assert len(sent) == 4
    assert not sent & {changed.digest, gone.digest}
    assert_complete(run, teacher, 4)


def test_a_request_left_open_whose_file_vanished_is_taken_apart_where_that_is_free(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=4)
    teacher.script.append(drop_and_refuse(teacher))
    with pytest.raises(ServiceRefused):
        buy(run, batch=4)
    with TransferSet.open(run.transfer_set) as transfer_set:
        gone = transfer_set.chosen()[0]
    gone.path.unlink()
    outcome = buy(run, batch=4)
    assert (outcome.charged, outcome.replayed, list(outcome.changed)) == (0, 3, [gone.path])


def test_billed_per_call_a_request_left_open_waits_for_its_file(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    teacher.add_key("rtn_k2_secret", billing="every-call")
    run = planned(queries=4)
    teacher.script.append(drop_and_refuse(teacher))
    with pytest.raises(ServiceRefused):
        buy(run, api_key="rtn_k2_secret", batch=2, concurrency=1)
    with TransferSet.open(run.transfer_set) as transfer_set:
        gone = transfer_set.chosen()[0]
    data = gone.path.read_bytes()
    gone.path.unlink()
    outcome = buy(run, api_key="rtn_k2_secret", batch=2)
    assert outcome.charged == 2
    gone.path.write_bytes(data)
    outcome = buy(run, api_key="rtn_k2_secret", batch=2)
    assert (outcome.charged, outcome.replayed) == (0, 2)
    assert_complete(run, teacher, 4, "rtn_k2_secret")


@pytest.mark.parametrize("billing", ["distinct", "every-call"])
def test_an_image_that_was_paid_for_is_never_noted_as_refused_at_no_cost(
    teacher: Any, planned: Planned, buy: Buy, billing: str
) -> None:
    """The answer was lost, and now the service's limits exclude an image of it."""
    key = teacher.add_key("rtn_k2_secret", billing=billing)
    run = planned(queries=4)
    teacher.script.append(drop_and_refuse(teacher))
    with pytest.raises(ServiceRefused):
        buy(run, api_key="rtn_k2_secret", batch=4)
    teacher.script.append(teacher.refusal(413, "image_too_large", "input[1]"))
    with pytest.raises(ServiceRefused, match="paid for the image in an earlier run"):
        buy(run, api_key="rtn_k2_secret", batch=4)
    outcome = buy(run, api_key="rtn_k2_secret", batch=4)
    assert (outcome.charged, outcome.replayed, outcome.refused, key.used) == (0, 4, {}, 4)
    assert_complete(run, teacher, 4, "rtn_k2_secret")


def test_a_paid_image_is_not_noted_as_refused_in_another_request_either(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    """The open request was taken apart because one of its files is gone; another of its images is refused."""
    run = planned(queries=4)
    teacher.script.append(drop_and_refuse(teacher))
    with pytest.raises(ServiceRefused):
        buy(run, batch=4)
    with TransferSet.open(run.transfer_set) as transfer_set:
        gone = transfer_set.chosen()[0]
    gone.path.unlink()
    for _ in range(2):
        teacher.script.append(teacher.refusal(413, "image_too_large", "input[1]"))
        with pytest.raises(ServiceRefused, match="paid for the image in an earlier run"):
            buy(run, batch=4)
    assert buy(run, batch=4).replayed == 3


def test_an_image_refused_after_its_answer_was_lost_is_looked_up_in_the_ledger_first(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    """The service was restarted with lower limits, in between two tries of one request."""
    run = planned(queries=4)
    teacher.script.extend([teacher.cut_short, teacher.refusal(413, "image_too_large", "input[1]")])
    with pytest.raises(ServiceRefused, match="may have been paid for: run the same"):
        buy(run, batch=4)
    assert buy(run, batch=4).replayed == 4
    assert_complete(run, teacher, 4)


def test_an_unpaid_image_of_a_request_left_open_may_be_refused(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    """A fetch that died before its request was answered must not be stuck on a bad image for ever."""
    run = planned(queries=4)
    teacher.script.append(teacher.refusal(418, "invalid_request"))
    with pytest.raises(ServiceRefused):
        buy(run, batch=4)
    with TransferSet.open(run.transfer_set) as transfer_set:
        bad = transfer_set.chosen()[1]
    teacher.unreadable.add(bad.digest)
    outcome = buy(run, batch=4)
    assert (list(outcome.refused), outcome.charged) == ([bad.path], 3)


def test_a_teacher_that_rounds_is_not_asked_for_unit_vectors(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    teacher.decimals = 1
    run = planned(queries=5)
    buy(run)
    assert any(abs(np.linalg.norm(row) - 1) > 1e-3 for row in held(run).values())


def test_a_service_that_moved_to_another_address_is_still_the_same(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=4)
    teacher.script.extend([lambda response: response, teacher.refusal(418, "invalid_request")])
    with pytest.raises(ServiceRefused):
        buy(run, batch=2, concurrency=1)
    moved = teacher.url.replace("127.0.0.1", "localhost")
    buy(run, url=moved)
    assert_complete(run, teacher, 4)
    with TransferSet.open(run.transfer_set) as transfer_set:
        assert transfer_set.teacher is not None
        assert transfer_set.teacher.url == moved
