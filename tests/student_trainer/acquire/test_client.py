"""The connection: what is tried again, what is final, and what is never shown."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from shared.protocol import ErrorBody, ErrorCode
from student_trainer.acquire.client import Access, Patience, RawAnswer, TeacherClient, Upload
from student_trainer.acquire.pacing import Pacer
from student_trainer.acquire.refusals import Refused, read_failure
from student_trainer.errors import BudgetTooSmall, InvalidInput, ServiceRefused

KEY = "rtn_k1_secret"
IMAGES = [Upload(b"one", "image/jpeg"), Upload(b"two", "image/png")]


class Waits:
    """Stands for time: notes waits instead of waiting."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.reasons: list[str] = []

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def note(self, reason: str, wait_s: float) -> None:
        self.reasons.append(reason)


def embed(url: str, waits: Waits, patience: Patience = Patience(), api_key: str = KEY) -> RawAnswer:
    async def run() -> RawAnswer:
        pacer = Pacer(waits.sleep, lambda: waits.now_s, lambda: 0.0)
        async with TeacherClient(
            Access(url, api_key),
            patience=patience,
            pacer=pacer,
            on_wait=waits.note,
            now_s=lambda: waits.now_s,
        ) as client:
            return await client.embed(IMAGES, "key-1")

    return asyncio.run(run())


def test_images_arrive_as_they_were_sent_with_one_idempotency_key(teacher: Any) -> None:
    answer = embed(teacher.url, Waits())
    assert len(answer.body) == 2 * 8 * 4
    (seen,) = teacher.seen
    assert (seen.idempotency_key, seen.media_types) == ("key-1", ["image/jpeg", "image/png"])
    assert seen.authorization == f"Bearer {KEY}"


def test_waits_follow_the_server_and_double_where_it_is_silent(teacher: Any) -> None:
    waits = Waits()
    teacher.script.extend(
        [
            teacher.refusal(503, "overloaded", Retry_After="7"),
            teacher.refusal(429, "rate_limit_exceeded", retry_after_ms="1500"),
            teacher.refusal(409, "request_in_flight", retry_after_ms="100"),
            teacher.refusal(500, "internal_error"),
        ]
    )
    embed(teacher.url, waits)
    assert waits.now_s == pytest.approx(7 + 1.5 + 0.1 + 4.0)  # the fourth failure in a row backs off 4 s
    assert [reason.split(":")[0] for reason in waits.reasons] == [
        "overloaded",
        "rate_limit_exceeded",
        "request_in_flight",
        "internal_error",
    ]
    assert len({request.idempotency_key for request in teacher.seen}) == 1


def test_patience_ends_and_says_for_how_long_and_why(teacher: Any) -> None:
    waits = Waits()
    teacher.script.extend([teacher.refusal(503, "overloaded", Retry_After="40")] * 5)
    with pytest.raises(ServiceRefused, match="could not be used for 100 s; last: overloaded"):
        embed(teacher.url, waits, Patience(give_up_after_s=100.0))
    assert len(teacher.seen) == 3
    assert waits.now_s <= 100.0


def test_rate_limits_may_go_on_for_longer_than_patience(teacher: Any) -> None:
    waits = Waits()
    teacher.script.extend([teacher.refusal(429, "rate_limit_exceeded", Retry_After="3600")] * 50)
    embed(teacher.url, waits, Patience(give_up_after_s=1.0))
    assert waits.now_s == 50 * 60.0


def test_a_refused_connection_is_tried_again_until_patience_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    waits = Waits()
    with pytest.raises(ServiceRefused, match="last: ConnectError"):
        embed(f"http://127.0.0.1:{port}", waits, Patience(give_up_after_s=10.0))
    assert len(waits.reasons) == 4  # 0.5 + 1 + 2 + 4 seconds, then 8 more would be too many


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(teacher: Any) -> None:
    waits = Waits()
    teacher.delay_s = 0.5

    def faster() -> None:
        if len(teacher.seen) == 2:
            teacher.delay_s = 0.0

    teacher.on_request = faster
    embed(teacher.url, waits, Patience(read_s=0.1))
    assert len(teacher.seen) == 2
    assert waits.reasons == ["ReadTimeout (no details)."]
    assert len({request.idempotency_key for request in teacher.seen}) == 1


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b'{"error": {"code": "new"}}', b"\xff"])
def test_errors_of_a_proxy_are_judged_by_their_status(body: bytes) -> None:
    assert read_failure(502, {}, body).reason == "HTTP 502 without an explanation"
    with pytest.raises(Refused, match=r"\(404, HTTP 404 without an explanation\)"):
        read_failure(404, {}, body)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_passing_failures_are_passing(status: int) -> None:
    fault = read_failure(status, {"Retry-After": "3"}, b"")
    assert fault.wait_s == 3.0
    assert fault.is_rate_limit == (status == 429)
    assert fault.concerns_all == (status in (429, 503))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422])
def test_all_other_client_errors_are_final(status: int) -> None:
    with pytest.raises(Refused):
        read_failure(status, {}, b"")


def test_a_server_that_says_not_to_retry_is_believed() -> None:
    with pytest.raises(Refused):
        read_failure(503, {"x-should-retry": "false"}, b"")


def test_an_exhausted_budget_is_final_whatever_the_headers_say() -> None:
    body = b'{"error": {"message": "none left", "type": "x", "code": "insufficient_quota"}}'
    with pytest.raises(BudgetTooSmall, match="none left"):
        read_failure(429, {"Retry-After": "1"}, body)


@pytest.mark.parametrize(
    ("code", "param", "images", "index"),
    [
        (ErrorCode.INVALID_IMAGE, "input[3]", 8, 3),
        (ErrorCode.IMAGE_TOO_LARGE, "input[0]", 8, 0),
        (ErrorCode.INVALID_IMAGE, None, 1, 0),
        (ErrorCode.INVALID_IMAGE, None, 8, None),
        (ErrorCode.INVALID_IMAGE, "input[9]", 8, None),
        (ErrorCode.REQUEST_TOO_LARGE, "input", 8, None),
        (ErrorCode.REQUEST_TOO_LARGE, "input", 1, 0),
        (ErrorCode.INVALID_REQUEST, "input[3]", 8, None),
    ],
)
def test_a_refusal_names_the_image_that_is_to_blame(
    code: ErrorCode, param: str | None, images: int, index: int | None
) -> None:
    error = ErrorBody(message="no", type="x", param=param, code=code)
    assert Refused("no", 400, error).image_index(images) == index


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("localhost:8000", "not like http"),
        ("ftp://host", "not like http"),
        ("http://", "not like http"),
        ("http://user:word@host", "must not carry a password"),
        ("http://ho st", "not like http"),
        ("http://host:port", "is not a URL"),
    ],
)
def test_an_address_that_cannot_be_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        Access(url, KEY)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://host:8000/v1", "http://host:8000"),
        ("http://host:8000/v1/", "http://host:8000"),
        ("https://host/teacher/v1", "https://host/teacher"),
        ("https://host/teacher/", "https://host/teacher"),
        ("http://v1", "http://v1"),
        ("http://host/v10", "http://host/v10"),
    ],
)
def test_the_address_of_an_openai_client_is_the_services_too(given: str, kept: str) -> None:
    assert Access(given, KEY).url == kept


def test_the_teacher_answers_at_the_address_of_an_openai_client(teacher: Any) -> None:
    assert len(embed(f"{teacher.url}/v1", Waits()).body) == 2 * 8 * 4


@pytest.mark.parametrize("api_key", ["rtn k1", "rtn\nk1", "schlüssel"])
def test_a_key_that_cannot_be_is_refused_and_not_repeated(api_key: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Access("http://host", api_key)
    assert api_key not in str(error.value)


def test_the_key_is_in_no_representation() -> None:
    access = Access("http://host/", KEY)
    assert repr(access) == "Access('http://host')"
    assert KEY not in f"{access!s}{access!r}"


def test_the_key_does_not_follow_a_redirect(teacher: Any) -> None:
    from fastapi.responses import RedirectResponse

    teacher.script.append(RedirectResponse("http://127.0.0.1:9/"))
    with pytest.raises(Refused, match="307"):
        embed(teacher.url, Waits())


def test_a_server_of_another_kind_is_recognised(teacher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with TeacherClient(Access(teacher.url, KEY)) as client:
            monkeypatch.setattr("student_trainer.acquire.client.MODELS_PATH", "/openapi.json")
            await client.model()

    with pytest.raises(ServiceRefused, match="does not answer as a teacher service does"):
        asyncio.run(run())


def test_the_ledger_is_read_to_its_signed_head_over_many_pages(teacher: Any) -> None:
    key = teacher.keys[KEY]
    for _ in range(10):
        key.grant(1)

    async def run() -> Any:
        async with TeacherClient(Access(teacher.url, KEY)) as client:
            return await client.chain()

    links, head = asyncio.run(run())
    assert [link.hash for link in links] == [link.hash for link in key.links]
    assert head.body.ledger_head == links[-1].hash


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("http://127.0.0.1:1", False),
        ("http://localhost:1", False),
        ("http://[::1]:1", False),
        ("http://10.0.0.1:1", True),
        ("https://teacher.example", True),
    ],
)
def test_proxies_are_used_except_for_this_machine(
    url: str, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    original: Callable[..., None] = httpx.AsyncClient.__init__

    def note(self: httpx.AsyncClient, **options: Any) -> None:
        seen.append(options["trust_env"])
        original(self, **options)

    monkeypatch.setattr(httpx.AsyncClient, "__init__", note)
    TeacherClient(Access(url, KEY))
    assert seen == [trusted]
