"""A ledger that cannot be used: what callers are told, who may be anybody, and what the log is."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.protocol import Header
from teacher_service.logs import configure_logs
from teacher_service.metering.ledger import AccountDamaged, LedgerUnavailable
from teacher_service.metering.watermarks import StoreRolledBack
from teacher_service.routes.failures import UNAVAILABLE
from teacher_service.routes.outages import TELL_EVERY_S, OutageLog

MADE_UP_KEY = f"rtn_{'0' * 16}_{'0' * 64}"
SECRETS = ("1234567890abcdef", "/srv/state/watermarks.sqlite", "10.1.2.3:6379")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """The outages that are logged from here on."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure_logs("info")

    def outages() -> list[dict[str, Any]]:
        parsed = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [line for line in parsed if line["event"] == "ledger_unavailable"]

    return outages


@pytest.mark.parametrize("kind", [LedgerUnavailable, AccountDamaged, StoreRolledBack])
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/usage", "/v1/models", "/v1/ledger"])
def test_a_made_up_key_learns_nothing_of_an_outage_and_the_log_learns_all(
    service: Any,
    lines: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[LedgerUnavailable],
    path: str,
) -> None:
    async def fail(_: str) -> None:
        raise kind(f"record 7 of key {SECRETS[0]} is gone; remove {SECRETS[1]}; {SECRETS[2]} refused")

    monkeypatch.setattr(service.service.stations.ledger, "key", fail)
    monkeypatch.setattr("teacher_service.routes.outages.TELL_EVERY_S", 0.0)
    with service.client(MADE_UP_KEY) as client:
        answer = client.request("POST" if path == "/v1/embeddings" else "GET", path)
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == UNAVAILABLE
    assert answer.json()["error"]["code"] == "ledger_unavailable"
    assert f"in {answer.headers[Header.RETRY_AFTER]} seconds" in UNAVAILABLE
    assert not any(secret in answer.text + str(answer.headers) for secret in SECRETS)
    [line] = lines()
    assert line["request_id"] == answer.headers[Header.REQUEST_ID]
    assert line["kind"] == kind.__name__
    assert all(secret in line["reason"] for secret in SECRETS)


def test_an_outage_is_told_at_once_and_then_now_and_then_with_a_count(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    now_s = 100.0
    outages = OutageLog(lambda: now_s)
    for request in range(1000):
        outages.note(LedgerUnavailable(f"no answer on port {request}"), f"req_{request}")
    outages.note(StoreRolledBack("gone"), "req_other")
    assert [(line["request_id"], line.get("more_since_last")) for line in lines()] == [
        ("req_0", None),
        ("req_other", None),
    ]
    now_s += TELL_EVERY_S
    outages.note(LedgerUnavailable("still"), "req_late")
    outages.note(LedgerUnavailable("still"), "req_later")
    assert (lines()[-1]["request_id"], lines()[-1]["more_since_last"]) == ("req_late", 999)
    now_s += 100 * TELL_EVERY_S
    outages.note(LedgerUnavailable("again"), "req_new")
    assert (lines()[-1]["reason"], lines()[-1]["more_since_last"]) == ("again", 1)
