"""The log: one JSON object a line with the request's id; never a key, never image bytes."""

import base64
import io
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
from patience import until

from shared.protocol import Header
from teacher_service.logs import configure_logs, log

URL = "/v1/embeddings"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Everything that is logged from here on, parsed."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure_logs("debug")
    for client in ("httpx", "httpcore"):  # of this test, not of the service
        monkeypatch.setattr(logging.getLogger(client), "disabled", True)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def of_request(lines: Callable[[], list[dict[str, Any]]], answer: httpx.Response) -> dict[str, Any]:
    """The one line of a request. It is written after the answer, which the client may have by then."""

    def its_lines() -> list[dict[str, Any]]:
        request_id = answer.headers[Header.REQUEST_ID]
        return [line for line in lines() if line.get("request_id") == request_id]

    until(lambda: len(its_lines()) > 0)
    [line] = its_lines()
    return line


def test_each_request_is_one_line_with_its_id_and_what_it_cost(
    service: Any, photo: Callable[..., bytes], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    key = service.key()
    answer = service.embed(key, photo(1), photo(1), photo(2))
    line = of_request(lines, answer)
    assert line["event"] == "request"
    assert (line["method"], line["route"], line["status"]) == ("POST", URL, 200)
    assert (line["submitted"], line["charged"], line["replayed"]) == (3, 2, 0)
    assert line["key_id"] == key.split("_")[1]
    assert line["duration_ms"] > 0


def test_neither_key_nor_image_bytes_are_ever_logged(
    service: Any,
    photo: Callable[..., bytes],
    lines: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Good requests, every kind of bad one, and a fault whose own message quotes both."""
    key, image = service.key(), photo(1)
    text = base64.b64encode(image).decode()
    with service.client(key) as client:
        client.post(URL, json={"input": text})
        client.post(URL, json={"input": text[:-3]})
        client.post(URL, json={"input": [text, 5]})
        client.post(URL, content=image, headers={"Content-Type": "image/png"})
        client.post(URL, content=image[:-50], headers={"Content-Type": "image/png"})
        client.post(URL, files={"images": image, key: b"x"})
        client.get(f"/v1/models/{key}")
        client.get(f"/{key}?key={key}")

        async def fail(*_: Any) -> Any:
            raise RuntimeError(f"cannot use {key} for this")

        monkeypatch.setattr(service.service.stations.ledger, "reserve", fail)
        last = client.post(URL, json={"input": text})
    assert last.status_code == of_request(lines, last)["status"] == 500
    assert len(lines()) >= 9
    written = json.dumps(lines())
    secret = key.split("_")[2]
    assert secret not in written
    assert text[:40] not in written
    assert repr(image[:12])[2:-1] not in written


def test_a_fault_is_logged_with_its_place_and_the_requests_id(
    service: Any,
    photo: Callable[..., bytes],
    lines: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = service.key()

    async def fail(*_: Any) -> Any:
        raise RuntimeError("the disk melted")

    monkeypatch.setattr(service.service.stations.ledger, "reserve", fail)
    answer = service.embed(key, photo(1))
    line = of_request(lines, answer)
    assert line["level"] == "error"
    assert "the disk melted" in line["error"]
    assert any("embed.py" in place for place in line["trace"])


def test_a_path_that_does_not_exist_is_not_written_down(
    service: Any, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    with service.client() as client:
        answer = client.get("/private/name")
    assert of_request(lines, answer)["status"] == 404
    assert "private" not in json.dumps(lines())


def test_long_values_are_cut_and_keys_masked(lines: Callable[[], list[dict[str, Any]]]) -> None:
    log("something", note="x" * 10_000, other=f"rtn_{'0' * 16}_{'a' * 64}!", nothing=None)
    [line] = lines()
    assert len(line["note"]) == 500
    assert line["other"] == "rtn_***!"
    assert "nothing" not in line


def test_lines_of_libraries_are_json_too(
    lines: Callable[[], list[dict[str, Any]]], request: pytest.FixtureRequest
) -> None:
    uvicorn = logging.getLogger("uvicorn.error")  # another server in this process may have made it quieter
    request.addfinalizer(partial(uvicorn.setLevel, uvicorn.level))
    uvicorn.setLevel(logging.WARNING)
    logging.getLogger("teacher_service.metering").error("write failed", extra={"reason": "disk full"})
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    first, second = lines()
    assert (first["event"], first["reason"], first["level"]) == ("write failed", "disk full", "error")
    assert second["event"] == "Invalid HTTP request received."
