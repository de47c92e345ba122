"""Every refusal of docs/api.md: its status, code and headers, in one shape, and nothing charged."""

import asyncio
import base64
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from shared.protocol import EmbeddingRequest, ErrorResponse, Header
from teacher_service.metering.ledger import HoldExpired, InFlight, LedgerUnavailable

URL = "/v1/embeddings"
OCTETS = {"Accept": "application/octet-stream"}


@pytest.fixture(scope="module")
def small(start_service: Callable[..., Any]) -> Any:
    """A service with limits that a test can reach."""
    return start_service(
        max_images=3, max_image_bytes=30_000, max_request_bytes=70_000, max_image_pixels=10_000, max_queue=3
    )


@pytest.fixture
def key(small: Any) -> Iterator[str]:
    """A key that must end as it began: unspent and with nothing held."""
    text = small.key(budget=10)
    yield text
    account = small.usage(text)
    assert (account["used"], account["held"], account["remaining"]) == (0, 0, 10)


def refused(answer: httpx.Response, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """Check an error answer; returns its error object."""
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers[Header.REQUEST_ID].startswith("req_")
    error: dict[str, Any] = answer.json()["error"]
    ErrorResponse.model_validate(answer.json())
    assert {"message", "type", "param", "code"} <= set(error)
    assert error["param"] == param
    assert len(error["message"]) > 10
    return error


def send(small: Any, key: str | None, **request: Any) -> httpx.Response:
    with small.client(key) as client:
        answer: httpx.Response = client.post(URL, **request)
        return answer


# --- 401 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/models", "/v1/models/x", "/v1/usage", "/v1/ledger"])
@pytest.mark.parametrize(
    "header", [None, "Bearer rtn_x", "Basic abc", "Bearer rtn_" + "0" * 16 + "_" + "0" * 64]
)
def test_no_key_or_an_unknown_one_is_refused_everywhere(small: Any, path: str, header: str | None) -> None:
    method = "POST" if path == URL else "GET"
    with small.client() as client:
        answer = client.request(method, path, headers={} if header is None else {"Authorization": header})
    refused(answer, 401, "invalid_api_key")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_revoked_key_is_refused_but_can_still_audit_its_account(
    small: Any, photo: Callable[..., bytes]
) -> None:
    key = small.key()
    assert small.embed(key, photo(1)).status_code == 200
    small.run(small.service.stations.ledger.revoke(key.split("_")[1]))
    for seed in (1, 2):  # what it bought before is not delivered again either
        answer = small.embed(key, photo(seed))
        refused(answer, 401, "invalid_api_key")
        assert answer.headers[Header.SHOULD_RETRY] == "false"
    with small.client(key) as client:
        assert client.get("/v1/models").json()["data"][0]["id"] == small.service.card.id
        page = client.get("/v1/ledger").raise_for_status().json()
    assert [entry["record"]["kind"] for entry in page["entries"]] == ["genesis", "settle", "revoke"]
    assert page["head"]["body"]["seq"] == 2
    assert (small.usage(key)["used"], small.usage(key)["held"]) == (1, 0)


def test_a_key_revoked_while_its_request_runs_is_refused_and_not_charged(
    small: Any, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = small.key()
    ledger = small.service.stations.ledger
    settle = ledger.settle

    async def revoke_then_settle(hold: Any, descriptors: Any) -> Any:
        await ledger.revoke(key.split("_")[1])
        return await settle(hold, descriptors)

    monkeypatch.setattr(ledger, "settle", revoke_then_settle)
    refused(small.embed(key, photo(1)), 401, "invalid_api_key")
    assert small.run(ledger.key(key.split("_")[1])).used == 0


def test_an_unknown_key_is_refused_before_its_body_has_arrived(small: Any) -> None:
    host, port = small.address.removeprefix("http://").split(":")

    async def first_line() -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n")
        line = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        return line

    assert b"401" in asyncio.run(first_line())


# --- 400, 404, 405, 415, 422 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"{}", "input"),
        (b'{"input": 5}', "input"),
        (b'{"input": []}', "input"),
        (b'{"input": [5]}', "input.0"),
        (b'{"input": "aGk=", "encoding_format": "hex"}', "encoding_format"),
        (b'{"input": "\xff"}', None),
    ],
)
def test_malformed_json_is_refused(small: Any, key: str, body: bytes, param: str | None) -> None:
    answer = send(small, key, content=body, headers={"Content-Type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_request")
    assert error["param"] in (param, "input")


def test_a_long_list_that_is_not_text_is_refused_at_its_first_item() -> None:
    with pytest.raises(ValidationError) as caught:
        EmbeddingRequest.model_validate_json(b'{"input": [' + b"1," * 1000 + b"1]}")
    assert [error["loc"] for error in caught.value.errors()] == [("input", "str"), ("input", "list[str]", 0)]


@pytest.mark.parametrize("url", ["http://example.org/a.jpg", "https://example.org/a.jpg"])
def test_urls_of_remote_images_are_refused(small: Any, key: str, url: str) -> None:
    error = refused(send(small, key, json={"input": [url]}), 400, "invalid_image", "input[0]")
    assert "remote" in error["message"]


@pytest.mark.parametrize("text", ["data:image/png,abc", "data:image/png;base64", "not base64!", "aGk", ""])
def test_text_that_is_not_base64_is_refused(small: Any, key: str, text: str) -> None:
    refused(send(small, key, json={"input": [text]}), 400, "invalid_image", "input[0]")


def test_another_model_is_not_found(small: Any, key: str, photo: Callable[..., bytes]) -> None:
    text = base64.b64encode(photo(1)).decode()
    answer = send(small, key, json={"input": text, "model": "text-embedding-3-small"})
    error = refused(answer, 404, "model_not_found", "model")
    assert small.service.card.id in error["message"]
    with small.client(key) as client:
        refused(client.get("/v1/models/other"), 404, "model_not_found", "model")


@pytest.mark.parametrize("dimensions", [31, 33, 0, -32, "many", 1.5])
def test_a_dimension_that_is_not_served_is_refused(
    small: Any, key: str, photo: Callable[..., bytes], dimensions: Any
) -> None:
    text = base64.b64encode(photo(1)).decode()
    answer = send(small, key, json={"input": text, "dimensions": dimensions})
    refused(answer, 400, "invalid_request", "dimensions")


def test_unknown_paths_and_methods_answer_in_the_same_shape(small: Any, key: str) -> None:
    with small.client(key) as client:
        refused(client.get("/v1/nothing"), 404, "not_found")
        wrong_method = client.put(URL)
        refused(wrong_method, 405, "invalid_request")
        assert wrong_method.headers["Allow"] == "POST"
        refused(client.get("/v1/ledger?after=x"), 422, "invalid_request", "after")
        refused(client.get("/v1/ledger?limit=0"), 422, "invalid_request", "limit")


@pytest.mark.parametrize("media_type", ["text/plain", "application/octet-stream", "application/x-tar", ""])
def test_an_unsupported_media_type_is_refused(small: Any, key: str, media_type: str) -> None:
    answer = send(small, key, content=b"x", headers={"Content-Type": media_type})
    refused(answer, 415, "unsupported_media_type")


def test_a_compressed_body_is_refused(small: Any, key: str, photo: Callable[..., bytes]) -> None:
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    refused(send(small, key, content=photo(1), headers=headers), 415, "unsupported_media_type")


def test_a_request_that_insists_on_another_teacher_is_refused_before_its_body_is_read(
    small: Any, key: str, photo: Callable[..., bytes]
) -> None:
    answer = small.embed(key, b"not an image", **{Header.TEACHER_REVISION.value: "ab" * 32})
    error = refused(answer, 412, "revision_mismatch", Header.TEACHER_REVISION)
    assert answer.headers[Header.SHOULD_RETRY] == "false"
    assert "insists on abababababab" in error["message"]


def test_a_request_that_insists_on_the_teacher_that_is_served_is_answered(
    small: Any, photo: Callable[..., bytes]
) -> None:
    revision = small.service.stations.revision
    answer = small.embed(small.key(), photo(1), **{Header.TEACHER_REVISION.value: revision})
    assert (answer.status_code, answer.headers[Header.TEACHER_REVISION]) == (200, revision)


FIELD = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b"nonsense"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="images"\r\n\r\nab',
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="y"\r\n\r\na\r\n--x--',
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Type: image/png\r\n\r\na\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 300, b"--x--\r\n"),
    ],
)
def test_a_malformed_multipart_body_is_refused(small: Any, key: str, content_type: str, body: bytes) -> None:
    answer = send(small, key, content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


def test_an_unknown_encoding_format_of_a_form_is_refused(
    small: Any, key: str, photo: Callable[..., bytes]
) -> None:
    answer = send(small, key, files={"images": photo(1)}, data={"encoding_format": "hex"})
    refused(answer, 400, "invalid_request", "encoding_format")


def test_an_idempotency_key_used_for_another_body_is_refused(small: Any, photo: Callable[..., bytes]) -> None:
    key = small.key()
    name = {Header.IDEMPOTENCY_KEY.value: "once"}
    assert small.embed(key, photo(1), **name).status_code == 200
    assert small.embed(key, photo(1), **name).headers[Header.QUERIES_CHARGED] == "0"
    refused(small.embed(key, photo(2), **name), 422, "idempotency_mismatch", Header.IDEMPOTENCY_KEY)
    assert small.usage(key)["used"] == 1


@pytest.mark.parametrize("length", [0, 256])
def test_an_idempotency_key_of_a_bad_length_is_refused(
    small: Any, key: str, photo: Callable[..., bytes], length: int
) -> None:
    answer = small.embed(key, photo(1), **{Header.IDEMPOTENCY_KEY.value: "k" * length})
    refused(answer, 400, "invalid_request", Header.IDEMPOTENCY_KEY)


# --- 413 ----------------------------------------------------------------------------------------------


def test_a_body_that_declares_too_many_bytes_is_refused(small: Any, key: str) -> None:
    answer = send(small, key, content=b"x" * 70_001, headers={"Content-Type": "image/png"})
    refused(answer, 413, "request_too_large")


@pytest.mark.parametrize("media_type", ["image/png", "application/json", "multipart/form-data; boundary=x"])
def test_a_body_of_unknown_length_is_cut_off_at_the_limit(small: Any, key: str, media_type: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        head = b'--x\r\nContent-Disposition: form-data; name="images"\r\n\r\n'
        yield head if "multipart" in media_type else b" "
        while sent < 400:
            sent += 1
            yield b" " * 10_000

    answer = send(small, key, content=endless(), headers={"Content-Type": media_type})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] in ("request_too_large", "image_too_large")


@pytest.mark.parametrize("form", ["raw", "json", "multipart"])
def test_an_image_of_too_many_bytes_is_refused(small: Any, key: str, form: str) -> None:
    big = b"\xff\xd8\xff" + b"x" * 30_000
    requests = {
        "raw": {"content": big, "headers": {"Content-Type": "image/jpeg"}},
        "json": {"json": {"input": [base64.b64encode(big).decode()]}},
        "multipart": {"files": {"images": big}},
    }
    refused(send(small, key, **requests[form]), 413, "image_too_large", "input[0]")


def test_an_image_of_too_many_pixels_is_refused_by_its_header(
    small: Any, key: str, photo: Callable[..., bytes]
) -> None:
    answer = small.embed(key, photo(1), photo(2, 101, 100))
    error = refused(answer, 413, "image_too_large", "input[1]")
    assert "10,100" in error["message"]


@pytest.mark.parametrize("form", ["json", "multipart"])
def test_too_many_images_are_refused(small: Any, key: str, photo: Callable[..., bytes], form: str) -> None:
    images = [photo(seed, 16, 12) for seed in range(4)]
    requests = {
        "json": {"json": {"input": [base64.b64encode(image).decode() for image in images]}},
        "multipart": {"files": [("images", image) for image in images]},
    }
    error = send(small, key, **requests[form]).json()["error"]
    assert error["code"] == "request_too_large"
    assert "3" in error["message"]


def test_more_images_than_the_rate_ever_admits_are_refused_for_good(
    small: Any, photo: Callable[..., bytes]
) -> None:
    key = small.key(rate="2/minute")
    refused(small.embed(key, photo(1), photo(2), photo(3)), 413, "request_too_large")
    assert small.embed(key, photo(1), photo(2)).status_code == 200


# --- 429, 409, 503 ------------------------------------------------------------------------------------


def test_the_rate_limit_says_when_to_come_back_and_burns_nothing(
    small: Any, photo: Callable[..., bytes]
) -> None:
    key = small.key(rate="3/hour")
    first = small.embed(key, photo(1), photo(2))
    assert first.headers[Header.LIMIT_IMAGES] == "3"
    assert first.headers[Header.REMAINING_IMAGES] == "1"
    answer = small.embed(key, photo(1), photo(2))
    refused(answer, 429, "rate_limit_exceeded")
    headers = answer.headers
    assert 0 < int(headers[Header.RETRY_AFTER]) <= 7200
    assert int(headers[Header.RETRY_AFTER_MS]) <= int(headers[Header.RETRY_AFTER]) * 1000
    assert headers[Header.REMAINING_IMAGES] == "1"
    assert headers[Header.RESET_IMAGES] == f"{headers[Header.RETRY_AFTER]}s"
    assert headers[Header.RATE_LIMIT] == f'"images";r=1;t={headers[Header.RETRY_AFTER]}'
    assert headers[Header.RATE_LIMIT_POLICY] == '"images";q=3;w=3600'
    assert small.embed(key, photo(1)).status_code == 200
    assert small.usage(key)["used"] == 2


def test_a_replay_counts_against_the_rate_limit(small: Any, photo: Callable[..., bytes]) -> None:
    key = small.key(rate="2/hour")
    assert [small.embed(key, photo(1)).status_code for _ in range(3)] == [200, 200, 429]


def test_a_request_over_budget_is_refused_whole_with_what_remains(
    small: Any, photo: Callable[..., bytes]
) -> None:
    key = small.key(budget=2)
    assert small.embed(key, photo(1)).status_code == 200
    answer = small.embed(key, photo(2), photo(3))
    error = refused(answer, 429, "insufficient_quota")
    assert error["remaining"] == 1
    assert error["type"] == "insufficient_quota"
    assert answer.headers[Header.SHOULD_RETRY] == "false"
    assert answer.headers[Header.QUERIES_REMAINING] == "1"
    assert small.embed(key, photo(2)).status_code == 200
    assert small.embed(key, photo(1), photo(2)).headers[Header.QUERIES_REPLAYED] == "2"
    assert small.usage(key)["used"] == 2


def test_an_image_in_flight_elsewhere_is_answered_409(
    small: Any, key: str, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reserve(reservation: Any) -> Any:
        raise InFlight("Image abc", 250)

    monkeypatch.setattr(small.service.stations.ledger, "reserve", reserve)
    answer = small.embed(key, photo(1))
    refused(answer, 409, "request_in_flight")
    assert answer.headers[Header.RETRY_AFTER_MS] == "250"


@pytest.mark.parametrize("step", ["key", "reserve", "settle"])
def test_a_failing_ledger_is_answered_503_and_nothing_is_served(
    small: Any, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    key = small.key(budget=10)

    async def fail(*_: Any) -> Any:
        raise LedgerUnavailable("The disk is full.")

    with monkeypatch.context() as broken:
        broken.setattr(small.service.stations.ledger, step, fail)
        answer = small.embed(key, photo(1))
        refused(answer, 503, "ledger_unavailable")
        assert int(answer.headers[Header.RETRY_AFTER]) > 0
        assert Header.RECEIPT not in answer.headers
        assert len(answer.content) < 500
    account = small.usage(key)
    assert (account["used"], account["held"]) == (0, 0)
    assert small.embed(key, photo(1)).headers[Header.QUERIES_CHARGED] == "1"


def test_readiness_fails_while_the_ledger_cannot_be_written_and_liveness_does_not(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise LedgerUnavailable("The disk is full.")

    monkeypatch.setattr(small.service.stations.ledger, "ping", fail)
    with small.client() as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
        assert answer.json()["checks"]["ledger"] != "ok"
        assert client.get("/healthz").status_code == 200


def test_readiness_fails_until_the_network_is_warm(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small.service, "warm", "warming up")
    with small.client() as client:
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["teacher"]) == (503, "warming up")


def test_a_lost_hold_delivers_nothing(
    small: Any, key: str, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = small.service.stations.ledger

    async def settle(hold: Any, descriptors: Any) -> Any:
        raise HoldExpired("The reservation expired.")

    monkeypatch.setattr(ledger, "settle", settle)
    answer = small.embed(key, photo(1))
    refused(answer, 503, "overloaded")
    assert Header.RETRY_AFTER in answer.headers


def test_a_full_queue_is_answered_503(small: Any, photo: Callable[..., bytes], monkeypatch: Any) -> None:
    """Three images are stuck in a network that waits; the queue holds three; a fourth is refused."""
    open_gate = threading.Event()
    batcher = small.service.stations.batcher
    load = batcher._model.load
    monkeypatch.setattr(batcher, "_model", _Gated(batcher._model, load, open_gate))
    busy_key, key = small.key(), small.key()
    busy = threading.Thread(target=small.embed, args=(busy_key, photo(70), photo(71), photo(72)))
    busy.start()
    try:
        while batcher.queued < 3:
            open_gate.wait(0.01)
        answer = small.embed(key, photo(73))
        refused(answer, 503, "overloaded")
        assert int(answer.headers[Header.RETRY_AFTER]) > 0
        assert small.usage(key)["held"] == 0
    finally:
        open_gate.set()
        busy.join(timeout=30)
    assert small.embed(key, photo(73)).status_code == 200
    assert small.usage(busy_key)["used"] == 3


def test_bodies_that_are_too_many_bytes_together_are_overloaded_and_give_back_what_they_held(
    start_service: Callable[..., Any], photo: Callable[..., bytes]
) -> None:
    """One client holds 50 kB of 70 and says no more; another one's 30 kB find no room until it has left."""
    service = start_service(max_request_bytes=70_000, max_bytes_in_flight=70_000)
    slow_key, key = service.key(), service.key()
    held = service.service.bytes_in_flight
    image = photo(95) + bytes(30_000)
    host, port = service.address.removeprefix("http://").split(":")
    head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {slow_key}\r\n"
    head += "Content-Type: image/png\r\nContent-Length: 60000\r\n\r\n"
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(head.encode() + bytes(50_000))
        _until(lambda: held.held == 50_000)
        answer = service.embed(key, image)
        refused(answer, 503, "overloaded")
        assert int(answer.headers[Header.RETRY_AFTER]) > 0
        assert service.embed(key, b"no image").status_code == 400
        _until(lambda: held.held == 50_000)
    _until(lambda: held.held == 0)
    account = service.usage(key)
    assert (account["used"], account["held"]) == (0, 0)
    assert service.embed(key, image).status_code == 200
    _until(lambda: held.held == 0)


def test_a_stalled_body_is_given_up_and_gives_back_what_it_held(start_service: Callable[..., Any]) -> None:
    service = start_service(body_timeout_s=0.2)
    key = service.key()
    host, port = service.address.removeprefix("http://").split(":")
    head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    head += "Content-Type: image/png\r\nContent-Length: 60000\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as stalled:
        stalled.sendall(head.encode() + bytes(50_000))
        answer = b""
        while chunk := stalled.recv(65_536):  # until the service closes the connection
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer
    assert b"connection: close" in answer.lower()
    _until(lambda: service.service.bytes_in_flight.held == 0)
    account = service.usage(key)
    assert (account["used"], account["held"]) == (0, 0)


def test_stalled_bodies_of_one_key_leave_room_for_the_others(
    start_service: Callable[..., Any], photo: Callable[..., bytes]
) -> None:
    service = start_service(max_request_bytes=70_000, max_bytes_in_flight=200_000)
    greedy, key = service.key(), service.key()
    host, port = service.address.removeprefix("http://").split(":")
    head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {greedy}\r\n"
    head += "Content-Type: image/png\r\nContent-Length: 60000\r\n\r\n"
    address = (host, int(port))
    with socket.create_connection(address) as one, socket.create_connection(address) as another:
        for stalled in (one, another):
            stalled.sendall(head.encode() + bytes(45_000))
        _until(lambda: service.service.bytes_in_flight.held == 90_000)
        image = photo(96) + bytes(30_000)
        error = refused(service.embed(greedy, image), 503, "overloaded")
        assert "of the 100,000 bytes that one key may hold" in error["message"]
        assert service.embed(key, image).status_code == 200


def _until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("waited 30 s in vain")


class _Gated:
    """The model, whose images are loaded only once a gate is open."""

    def __init__(self, model: Any, load: Callable[[bytes], Any], gate: threading.Event) -> None:
        self.describe, self.count_pixels = model.describe, model.count_pixels
        self._load, self._gate = load, gate

    def load(self, data: bytes) -> Any:
        assert self._gate.wait(30)
        return self._load(data)


def test_a_fault_of_ours_is_answered_in_the_same_shape_and_charges_nothing(
    small: Any, key: str, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def describe(images: Any) -> Any:
        raise RuntimeError("the network exploded")

    monkeypatch.setattr(small.service.stations.batcher, "describe", describe)
    answer = small.embed(key, photo(90))
    error = refused(answer, 500, "internal_error")
    assert answer.headers[Header.REQUEST_ID] in error["message"]
    assert "exploded" not in answer.text


def test_a_descriptor_that_is_not_finite_is_never_sold(
    small: Any, key: str, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    import teacher_service.inference.teacher as teacher

    monkeypatch.setattr(teacher, "describe_pixels", lambda *_: torch.full((1, 32), float("nan")))
    refused(small.embed(key, photo(91)), 500, "internal_error")
