"""Answers that do not hold and teachers that are not the same: nothing of them is stored or mixed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi import Response
from nacl.signing import SigningKey

from shared.receipts import SignedReceipt, from_header, to_header
from student_trainer.acquire.fetch import Outcome
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import InvalidInput, RevisionChanged, ServiceRefused, VerificationFailed
from student_trainer.run_folder import RunFolder

Planned = Callable[..., RunFolder]
Buy = Callable[..., Outcome]


def images_held(run: RunFolder) -> list[str]:
    with TransferSet.open(run.transfer_set) as transfer_set:
        return transfer_set.bought().images


def reply_with(change: Callable[[Response], None]) -> Callable[[Response], Response]:
    def step(response: Response) -> Response:
        change(response)
        return response

    return step


def body(data: Callable[[bytes], bytes]) -> Callable[[Response], Response]:
    def change(response: Response) -> None:
        response.body = data(bytes(response.body))
        response.headers["content-length"] = str(len(response.body))

    return reply_with(change)


def forged(**facts: Any) -> Callable[[Any], Callable[[Response], Response]]:
    """Receipts with changed facts, signed by the real key: a service that lies."""

    def make(teacher: Any) -> Callable[[Response], Response]:
        def change(response: Response) -> None:
            signed = from_header(response.headers["x-receipt"])
            changed = signed.body.model_copy(update=facts)
            response.headers["x-receipt"] = to_header(SignedReceipt.by(teacher.signing_key, changed))

        return reply_with(change)

    return make


def edited(response: Response) -> Response:
    """A receipt changed by somebody without the key."""
    signed = from_header(response.headers["x-receipt"])
    changed = signed.model_copy(update={"body": signed.body.model_copy(update={"charged": 1})})
    response.headers["x-receipt"] = to_header(changed)
    return response


NAN = np.full(8, np.nan, dtype="<f4").tobytes()
LONG = np.full(8, 0.5, dtype="<f4").tobytes()
LIES: dict[str, tuple[Callable[[Any], Callable[[Response], Response]], str]] = {
    "too few rows": (lambda teacher: body(lambda data: data[:32]), r"shape \(2, 8\), got \(1, 8\)"),
    "half a row": (lambda teacher: body(lambda data: data[:-4]), "not a whole number"),
    "not a number": (lambda teacher: body(lambda data: NAN + data[32:]), "Descriptor 0 holds NaN"),
    "not a unit vector": (
        lambda teacher: body(lambda data: data[:32] + LONG),
        "Descriptor 1 has norm 1.41421",
    ),
    "rows swapped": (lambda teacher: body(lambda data: data[32:] + data[:32]), "states delivery"),
    "another dimension": (
        lambda teacher: reply_with(lambda response: response.headers.update({"x-embedding-dim": "4"})),
        "X-Embedding-Dim is 4",
    ),
    "no receipt": (
        lambda teacher: reply_with(lambda response: response.headers.__delitem__("x-receipt")),
        "Not a receipt",
    ),
    "an edited receipt": (lambda teacher: edited, "signature of this ration-receipt/1 is not valid"),
    "another key id": (forged(key_id="k9"), "states key k9"),
    "another request": (forged(request_id="req-0"), "states request req-0"),
    "a higher charge": (forged(charged=3), "states number of images 3"),
    "a charge called a replay": (forged(charged=0, replayed=2), "states charge 0"),
    "another delivery": (forged(delivery_digest="00" * 32), "states delivery"),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_an_answer_that_does_not_hold_is_not_stored(
    teacher: Any, planned: Planned, buy: Buy, lie: str
) -> None:
    make, complaint = LIES[lie]
    run = planned(queries=2)
    teacher.script.append(make(teacher))
    with pytest.raises(VerificationFailed, match=complaint):
        buy(run, batch=2)
    assert images_held(run) == []
    outcome = buy(run, batch=2)
    assert (outcome.charged, outcome.replayed) == (0, 2)
    assert (len(images_held(run)), teacher.keys["rtn_k1_secret"].used) == (2, 2)


def test_an_old_answer_sent_again_for_other_images_is_not_stored(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=4)
    kept: list[Response] = []
    teacher.script.extend([reply_with(kept.append), lambda response: kept[0]])
    with pytest.raises(VerificationFailed, match="states delivery"):
        buy(run, batch=2, concurrency=1)
    assert len(images_held(run)) == 2


def test_a_receipt_signed_by_another_key_is_refused(teacher: Any, planned: Planned, buy: Buy) -> None:
    run = planned(queries=2)

    def resigned(response: Response) -> Response:
        signed = from_header(response.headers["x-receipt"])
        other = SignedReceipt.by(SigningKey(b"\x09" * 32), signed.body)
        response.headers["x-receipt"] = to_header(other)
        return response

    teacher.script.append(resigned)
    with pytest.raises(VerificationFailed, match="Signed by"):
        buy(run)


def test_a_teacher_that_changed_since_the_last_fetch_is_noticed_before_spending(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=4)
    teacher.script.extend([lambda response: response, teacher.refusal(418, "invalid_request")])
    with pytest.raises(ServiceRefused):
        buy(run, batch=2, concurrency=1)
    teacher.weights = "second"
    with pytest.raises(RevisionChanged, match="Nothing was spent"):
        buy(run)
    assert len(teacher.seen) == 2
    assert len(images_held(run)) == 2
    teacher.weights = "first"
    buy(run)
    assert (len(images_held(run)), teacher.keys["rtn_k1_secret"].used) == (4, 4)


def test_a_teacher_that_changes_midway_ends_the_fetch_and_nothing_is_mixed(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=6)
    count = iter(range(10))

    def change() -> None:
        if next(count) == 1:
            teacher.weights = "second"

    teacher.on_request = change
    with pytest.raises(RevisionChanged, match="is now"):
        buy(run, batch=2, concurrency=1)
    assert len(images_held(run)) == 2
    teacher.on_request = lambda: None
    teacher.weights = "first"
    buy(run)
    assert len(images_held(run)) == 6


def test_a_service_that_signs_with_another_key_is_not_the_one_pinned(
    teacher: Any, planned: Planned, buy: Buy
) -> None:
    run = planned(queries=4)
    teacher.script.extend([lambda response: response, teacher.refusal(418, "invalid_request")])
    with pytest.raises(ServiceRefused):
        buy(run, batch=2, concurrency=1)
    teacher.signing_key = SigningKey(b"\x08" * 32)
    with pytest.raises(VerificationFailed, match="signs with key"):
        buy(run)


def test_another_api_key_than_the_first_is_refused_by_name(teacher: Any, planned: Planned, buy: Buy) -> None:
    teacher.add_key("rtn_k2_secret")
    run = planned(queries=4)
    teacher.script.extend([lambda response: response, teacher.refusal(418, "invalid_request")])
    with pytest.raises(ServiceRefused):
        buy(run, batch=2, concurrency=1)
    with pytest.raises(InvalidInput, match="belongs to API key k1, the key given is k2"):
        buy(run, api_key="rtn_k2_secret")
