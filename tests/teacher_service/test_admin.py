"""Administration over HTTP: behind its own key, and exact while clients buy."""

import csv
import io
import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from shared.chain import Link, verify_chain
from shared.protocol import Header
from teacher_service import cli
from teacher_service.logs import configure_logs
from teacher_service.metering.auditing.verify import verify_export

ADMIN_KEY = "an-admin-key-of-at-least-32-characters"
KEYS = "/v1/admin/keys"
ROUTES = [
    ("POST", KEYS),
    ("GET", KEYS),
    ("GET", KEYS + "/x"),
    ("POST", KEYS + "/x/grants"),
    ("POST", KEYS + "/x/revoke"),
    ("GET", KEYS + "/x/ledger"),
    ("GET", "/v1/admin/usage"),
    ("GET", "/v1/admin/export"),
]


@pytest.fixture(scope="module")
def service(start_service: Callable[..., Any]) -> Any:
    """A server that can be administered."""
    return start_service(admin_key=ADMIN_KEY)


@pytest.fixture
def admin(service: Any) -> Iterator[httpx.Client]:
    with service.client(ADMIN_KEY) as client:
        yield client


def make(admin: httpx.Client, **changes: Any) -> dict[str, Any]:
    answer = admin.post(KEYS, json={"name": "alice", "budget": 10, **changes})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code
    return error


# --- who may come in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_only_the_admin_key_opens_a_route(service: Any, method: str, path: str) -> None:
    for sent in (None, "wrong" * 10, service.key(), ADMIN_KEY + "x", ADMIN_KEY[:-1]):
        with service.client(sent) as client:
            answer = client.request(method, path)
        refusal(answer, 401, "invalid_admin_key")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_admin_key_is_sent_as_a_bearer_token_and_in_no_other_way(service: Any) -> None:
    with service.client() as client:
        for header in (ADMIN_KEY, f"Basic {ADMIN_KEY}", f"Bearer{ADMIN_KEY}"):
            refusal(client.get(KEYS, headers={"Authorization": header}), 401, "invalid_admin_key")
        assert client.get(KEYS, headers={"Authorization": f"bearer {ADMIN_KEY}"}).status_code == 200


def test_the_admin_key_buys_nothing_and_reads_no_account(service: Any, photo: Callable[..., bytes]) -> None:
    refusal(service.embed(ADMIN_KEY, photo(1)), 401, "invalid_api_key")
    with service.client(ADMIN_KEY) as client:
        for path in ("/v1/usage", "/v1/ledger", "/v1/models"):
            refusal(client.get(path), 401, "invalid_api_key")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_an_admin_key_there_is_no_administration(closed: Any, method: str, path: str) -> None:
    with closed.client(ADMIN_KEY) as client:
        error = refusal(client.request(method, path), 404, "not_found")
    assert "TEACHER_ADMIN_KEY" in error["message"]


@pytest.fixture(scope="module")
def closed(start_service: Callable[..., Any]) -> Any:
    """A server without an admin key."""
    return start_service()


def test_a_body_is_not_looked_at_before_the_key(service: Any) -> None:
    with service.client("wrong" * 10) as client:
        refusal(client.post(KEYS, content=b"{" * 100_000), 401, "invalid_admin_key")


def test_failed_attempts_are_logged_without_what_was_sent(
    service: Any, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure_logs("debug")
    for client in ("httpx", "httpcore"):  # of this test, not of the service
        monkeypatch.setattr(logging.getLogger(client), "disabled", True)
    with service.client("a-wrong-secret-that-somebody-tried") as other:
        refused = other.get(KEYS)
    admin.get(KEYS)
    admin.get(f"{KEYS}/{ADMIN_KEY}")
    made = make(admin)
    text = stream.getvalue()
    lines = [json.loads(line) for line in text.splitlines()]
    [warning] = [line for line in lines if line["event"] == "admin_refused"]
    assert (warning["level"], warning["client"]) == ("warning", "127.0.0.1")
    assert warning["request_id"] == refused.headers[Header.REQUEST_ID]
    [creation] = [line for line in lines if line.get("key_id") == made["key_id"]]
    assert (creation["route"], creation["status"]) == (KEYS, 201)
    for secret in ("a-wrong-secret", ADMIN_KEY, made["key"].split("_")[2]):
        assert secret not in text


# --- keys ---------------------------------------------------------------------------------------------


def test_a_key_is_made_shown_once_raised_and_withdrawn(
    service: Any, admin: httpx.Client, photo: Callable[..., bytes]
) -> None:
    answer = admin.post(KEYS, json={"name": "bob", "budget": 1, "rate": "600/minute"})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    made = answer.json()
    assert service.embed(made["key"], photo(1)).status_code == 200

    account = admin.get(f"{KEYS}/{made['key_id']}").json()
    assert (account["name"], account["rate"], account["billing"]) == ("bob", "600/minute", "distinct")
    assert (account["budget"], account["used"], account["remaining"]) == (1, 1, 0)
    assert account in admin.get(KEYS).json()["data"]
    assert made["key"].split("_")[2] not in admin.get(KEYS).text

    granted = admin.post(f"{KEYS}/{made['key_id']}/grants", json={"queries": 4}).json()
    assert (granted["budget"], granted["remaining"]) == (5, 4)
    for _ in range(2):
        revoked = admin.post(f"{KEYS}/{made['key_id']}/revoke").json()
        assert (revoked["revoked"], revoked["budget"], revoked["remaining"]) == (True, 5, 0)
    told = service.usage(made["key"])
    assert (told["revoked"], told["budget"], told["used"], told["remaining"]) == (True, 5, 1, 0)
    [row] = usage(admin, by="key", key_id=made["key_id"])
    assert (row["revoked"], row["remaining"]) == (True, 0)
    refusal(service.embed(made["key"], photo(2)), 401, "invalid_api_key")
    grant = admin.post(f"{KEYS}/{made['key_id']}/grants", json={"queries": 4})
    refusal(grant, 409, "key_revoked")


def test_a_budget_may_have_a_window(admin: httpx.Client) -> None:
    made = make(admin, budget="1000/day", billing="every-call")
    assert (made["budget"], made["window"], made["billing"]) == (1000, "day", "every-call")


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"budget": 1}, "name", "Field required"),
        ({"name": "x"}, "budget", "Field required"),
        ({"name": "", "budget": 1}, "name", "at least 1"),
        ({"name": "a\nb", "budget": 1}, None, "cannot be printed"),
        ({"name": "x", "budget": -1}, "budget", "greater than or equal to 0"),
        ({"name": "x", "budget": True}, "budget", "valid integer"),
        ({"name": "x", "budget": "plenty"}, "budget", "plenty"),
        ({"name": "x", "budget": 2**60}, "budget", "less than or equal"),
        ({"name": "x", "budget": 1, "rate": "fast"}, "rate", "is not a rate"),
        ({"name": "x", "budget": 1, "billing": "free"}, "billing", "'distinct' or 'every-call'"),
        ({"name": "x", "budget": 1, "bugdet": 2}, "bugdet", "not permitted"),
    ],
)
def test_a_key_that_cannot_be_is_refused(
    admin: httpx.Client, body: dict[str, Any], param: str | None, words: str
) -> None:
    before = admin.get(KEYS).json()
    error = refusal(admin.post(KEYS, json=body), 400, "invalid_request")
    assert (error["param"], words in error["message"]) == (param, True), error
    assert admin.get(KEYS).json() == before


def test_a_body_that_is_no_json_or_too_large_is_refused(admin: httpx.Client) -> None:
    json_type = {"Content-Type": "application/json"}
    refusal(admin.post(KEYS, content=b"{", headers=json_type), 400, "invalid_request")
    refusal(admin.post(KEYS, content=b"[]", headers=json_type), 400, "invalid_request")
    refusal(admin.post(KEYS, data={"name": "x"}), 415, "unsupported_media_type")
    refusal(admin.post(KEYS), 415, "unsupported_media_type")
    refusal(admin.post(KEYS, json={"name": "x" * 20_000}), 413, "request_too_large")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "{}", None),
        ("POST", "{}/grants", {"queries": 1}),
        ("POST", "{}/revoke", None),
        ("GET", "{}/ledger", None),
        ("GET", "{}/ledger?format=csv", None),
    ],
)
def test_an_unknown_key_is_404(admin: httpx.Client, method: str, path: str, body: Any) -> None:
    error = refusal(admin.request(method, f"{KEYS}/{path.format('nobody')}", json=body), 404, "not_found")
    assert "nobody" in error["message"]


# --- retries ------------------------------------------------------------------------------------------


def test_a_repeated_grant_with_the_expected_budget_is_made_once(admin: httpx.Client) -> None:
    path = f"{KEYS}/{make(admin)['key_id']}/grants"
    body = {"queries": 5, "expected_budget": 10}
    assert admin.post(path, json=body).json()["budget"] == 15
    error = refusal(admin.post(path, json=body), 409, "budget_changed")
    assert error["param"] == "expected_budget"
    assert "it may have been made before" in error["message"]


def test_of_many_equal_grants_at_once_one_is_made(service: Any, admin: httpx.Client) -> None:
    key_id = make(admin)["key_id"]

    def grant(_: int) -> int:
        with service.client(ADMIN_KEY) as client:
            body = {"queries": 5, "expected_budget": 10}
            return int(client.post(f"{KEYS}/{key_id}/grants", json=body).status_code)

    with ThreadPoolExecutor(16) as clients:
        statuses = sorted(clients.map(grant, range(16)))
    assert statuses == [200] + [409] * 15
    assert admin.get(f"{KEYS}/{key_id}").json()["budget"] == 15


def test_a_grant_refuses_an_idempotency_key_that_it_would_not_keep(admin: httpx.Client) -> None:
    key_id = make(admin)["key_id"]
    named = {Header.IDEMPOTENCY_KEY.value: "g1"}
    answer = admin.post(f"{KEYS}/{key_id}/grants", json={"queries": 5}, headers=named)
    assert "expected_budget" in refusal(answer, 400, "invalid_request")["message"]
    assert admin.get(f"{KEYS}/{key_id}").json()["budget"] == 10


@pytest.mark.parametrize("body", [{"queries": 0}, {"queries": 2**53}, {"queries": "5"}, {}])
def test_a_grant_that_cannot_be_is_refused(admin: httpx.Client, body: dict[str, Any]) -> None:
    path = f"{KEYS}/{make(admin)['key_id']}/grants"
    assert refusal(admin.post(path, json=body), 400, "invalid_request")["param"] == "queries"


def test_a_grant_beyond_what_can_be_counted_is_refused(admin: httpx.Client) -> None:
    path = f"{KEYS}/{make(admin)['key_id']}/grants"
    answer = admin.post(path, json={"queries": 2**53 - 5})
    assert "Cannot grant" in refusal(answer, 400, "invalid_request")["message"]


def test_a_key_is_made_once_under_an_idempotency_key(admin: httpx.Client) -> None:
    named = {Header.IDEMPOTENCY_KEY.value: "for alice, once"}
    body = {"name": "alice", "budget": 10}
    first = admin.post(KEYS, json=body, headers=named)
    assert first.status_code == 201
    before = admin.get(KEYS).json()
    error = refusal(admin.post(KEYS, json=body, headers=named), 409, "key_exists")
    assert first.json()["key_id"] in error["message"]
    assert "revoke that key, and make another under a new Idempotency-Key" in error["message"]
    assert admin.get(KEYS).json() == before
    another = admin.post(KEYS, json=body, headers={Header.IDEMPOTENCY_KEY.value: "for alice, again"})
    assert another.json()["key_id"] != first.json()["key_id"]


# --- while clients buy --------------------------------------------------------------------------------


def test_a_grant_during_a_refused_purchase_lets_the_retry_through(
    service: Any, admin: httpx.Client, photo: Callable[..., bytes]
) -> None:
    made = make(admin, budget=1)
    refusal(service.embed(made["key"], photo(10), photo(11)), 429, "insufficient_quota")
    admin.post(f"{KEYS}/{made['key_id']}/grants", json={"queries": 1, "expected_budget": 1})
    answer = service.embed(made["key"], photo(10), photo(11))
    assert (answer.status_code, answer.headers[Header.QUERIES_CHARGED]) == (200, "2")


def test_a_revoke_in_the_middle_of_a_request_delivers_nothing(
    service: Any, admin: httpx.Client, photo: Callable[..., bytes], held_up: "HeldUp"
) -> None:
    made = make(admin)
    with held_up as entered, ThreadPoolExecutor(1) as client:
        bought = client.submit(service.embed, made["key"], photo(20))
        assert entered.wait(30)
        assert admin.get(f"{KEYS}/{made['key_id']}").json()["held"] == 1
        revoked = admin.post(f"{KEYS}/{made['key_id']}/revoke").json()
        held_up.go_on.set()
        answer = bought.result(30)
    assert (revoked["held"], revoked["used"]) == (0, 0)
    refusal(answer, 401, "invalid_api_key")
    assert Header.RECEIPT not in answer.headers
    [record] = [link["record"]["kind"] for link in ledger_of(admin, made["key_id"])[1:]]
    assert record == "revoke"


def test_a_grant_in_the_middle_of_a_request_changes_nothing_for_it(
    service: Any, admin: httpx.Client, photo: Callable[..., bytes], held_up: "HeldUp"
) -> None:
    made = make(admin, budget=1)
    with held_up as entered, ThreadPoolExecutor(1) as client:
        bought = client.submit(service.embed, made["key"], photo(21))
        assert entered.wait(30)
        granted = admin.post(f"{KEYS}/{made['key_id']}/grants", json={"queries": 2}).json()
        held_up.go_on.set()
        answer = bought.result(30)
    assert (granted["budget"], granted["held"], granted["remaining"]) == (3, 1, 2)
    assert (answer.status_code, answer.headers[Header.QUERIES_REMAINING]) == (200, "2")


class HeldUp:
    """While it is entered, decoding waits for ``go_on``; entering gives the event that it has begun."""

    def __init__(self, batcher: Any) -> None:
        self.go_on, self._entered = threading.Event(), threading.Event()
        self._batcher, self._model = batcher, batcher._model

    def __enter__(self) -> threading.Event:
        outer = self

        class Slow:
            describe = self._model.describe
            count_pixels = self._model.count_pixels

            def load(self, data: bytes) -> Any:
                outer._entered.set()
                assert outer.go_on.wait(30)
                return outer._model.load(data)

        self._batcher._model = Slow()
        return self._entered

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._batcher._model = self._model


@pytest.fixture
def held_up(service: Any) -> HeldUp:
    return HeldUp(service.service.stations.batcher)


# --- usage --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spent(service: Any, photo: Callable[..., bytes]) -> dict[str, Any]:
    """A key with three charged and one replayed query in two requests; its name is a formula."""
    with service.client(ADMIN_KEY) as admin:
        made = make(admin, name="=SUM(A1:A9)", budget=10)
    service.embed(made["key"], photo(30), photo(31))
    service.embed(made["key"], photo(31), photo(32))
    return made


def usage(admin: httpx.Client, **query: str) -> list[dict[str, Any]]:
    answer = admin.get("/v1/admin/usage", params=query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["rows"]
    return rows


def test_usage_by_key_joins_the_account_with_what_was_done(
    admin: httpx.Client, spent: dict[str, Any]
) -> None:
    [row] = usage(admin, by="key", key_id=spent["key_id"])
    counts = {"used": 3, "held": 0, "remaining": 7, "requests": 2, "charged": 3, "replayed": 1}
    counts |= {"used_in_window": 3, "revoked": False}
    assert row == {
        "key_id": spent["key_id"],
        "name": "=SUM(A1:A9)",
        "budget": 10,
        "window": "total",
        "window_ends_at_ms": None,
        **counts,
    }
    assert row in usage(admin)
    assert [each["key_id"] for each in usage(admin)] == [
        key["key_id"] for key in admin.get(KEYS).json()["data"]
    ]


def test_usage_by_day_has_a_row_for_each_day_and_key(admin: httpx.Client, spent: dict[str, Any]) -> None:
    [row] = usage(admin, by="day", key_id=spent["key_id"])
    settled_ms = ledger_of(admin, spent["key_id"])[-1]["record"]["at_ms"]
    day = datetime.fromtimestamp(settled_ms / 1000, UTC).date().isoformat()
    counts = {"requests": 2, "charged": 3, "replayed": 1}
    assert row == {"day": day, "key_id": spent["key_id"], "name": "=SUM(A1:A9)", **counts}
    assert row in usage(admin, by="day", since=day, until=day)
    assert usage(admin, by="day", since="2100-01-01") == []
    assert usage(admin, by="day", until="2000-01-01") == []
    [still] = usage(admin, by="key", key_id=spent["key_id"], since="2100-01-01")
    assert (still["used"], still["requests"], still["charged"], still["replayed"]) == (3, 0, 0, 0)


@pytest.mark.parametrize("by", ["key", "day"])
def test_usage_as_csv_is_the_same_rows_and_no_formula(
    admin: httpx.Client, spent: dict[str, Any], by: str
) -> None:
    query = {"by": by, "key_id": spent["key_id"]}
    [expected] = usage(admin, **query)
    by_format = admin.get("/v1/admin/usage", params={**query, "format": "csv"})
    by_accept = admin.get("/v1/admin/usage", params=query, headers={"Accept": "text/csv"})
    assert by_format.text == by_accept.text
    assert by_format.headers["Content-Type"].startswith("text/csv")
    [row] = csv.DictReader(io.StringIO(by_format.text))
    expected["name"] = "'=SUM(A1:A9)"
    assert row == {name: "" if value is None else str(value) for name, value in expected.items()}


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ({"by": "year"}, 422, "by"),
        ({"since": "yesterday"}, 422, "since"),
        ({"format": "xlsx"}, 422, "format"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, 400, "until"),
    ],
)
def test_usage_that_cannot_be_is_refused(
    admin: httpx.Client, query: dict[str, str], status: int, param: str
) -> None:
    error = refusal(admin.get("/v1/admin/usage", params=query), status, "invalid_request")
    assert error["param"] == param


def test_usage_of_an_unknown_key_is_404(admin: httpx.Client) -> None:
    error = refusal(admin.get("/v1/admin/usage", params={"key_id": "nobody"}), 404, "not_found")
    assert error["message"] == "There is no key nobody. List the keys with GET /v1/admin/keys."


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("GET", "/v1/admin/usage", "known are by, format, key_id, since, until"),
        ("GET", f"{KEYS}/nobody/ledger", "known are format"),
        ("GET", "/v1/admin/export", "this path takes none"),
        ("GET", KEYS, "this path takes none"),
        ("POST", f"{KEYS}/nobody/revoke", "this path takes none"),
    ],
)
def test_an_unknown_query_parameter_is_refused_with_the_known_ones(
    admin: httpx.Client, method: str, path: str, known: str
) -> None:
    """Ignored, ``?key=bob`` would be answered with everybody's rows."""
    error = refusal(admin.request(method, path, params={"key": "bob"}), 422, "invalid_request")
    assert (error["param"], error["message"]) == ("key", f"The query parameter 'key' is not known: {known}.")


def test_a_window_and_what_was_used_in_it_are_told_alike_everywhere(
    service: Any, admin: httpx.Client, photo: Callable[..., bytes]
) -> None:
    made = make(admin, budget="5/day")
    assert service.embed(made["key"], photo(40)).status_code == 200
    own = service.usage(made["key"])
    names = (
        "budget",
        "window",
        "window_ends_at_ms",
        "used",
        "used_in_window",
        "held",
        "remaining",
        "revoked",
    )
    [row] = usage(admin, by="key", key_id=made["key_id"])
    account = admin.get(f"{KEYS}/{made['key_id']}").json()
    assert {name: own[name] for name in names} == {name: row[name] for name in names}
    assert {name: own[name] for name in names} == {name: account[name] for name in names}
    assert (own["window"], own["used_in_window"], own["window_ends_at_ms"] % 86_400_000) == ("day", 1, 0)
    [genesis, settle] = csv.DictReader(
        io.StringIO(admin.get(f"{KEYS}/{made['key_id']}/ledger", params={"format": "csv"}).text)
    )
    assert (genesis["budget_after"], genesis["window"], settle["window"]) == ("5", "day", "")


# --- exports ------------------------------------------------------------------------------------------


def ledger_of(admin: httpx.Client, key_id: str) -> list[dict[str, Any]]:
    answer = admin.get(f"{KEYS}/{key_id}/ledger")
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_keys_records_are_its_chain(admin: httpx.Client, spent: dict[str, Any]) -> None:
    lines = ledger_of(admin, spent["key_id"])
    account = verify_chain(Link(line["record"], line["hash"]) for line in lines)
    assert (account.key_id, account.used, account.seq) == (spent["key_id"], 3, 2)


def test_more_records_than_a_page_come_whole(
    service: Any, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teacher_service.metering.auditing.verify._PAGE", 7)
    key_id = make(admin)["key_id"]
    for _ in range(20):
        service.run(service.service.archive.grant(key_id, 1))
    assert [line["record"]["seq"] for line in ledger_of(admin, key_id)] == list(range(21))
    text = admin.get(f"{KEYS}/{key_id}/ledger", params={"format": "csv"}).text
    assert [row["seq"] for row in csv.DictReader(io.StringIO(text))] == [str(seq) for seq in range(21)]


def test_a_keys_records_as_csv_have_one_flat_line_each(admin: httpx.Client, spent: dict[str, Any]) -> None:
    answer = admin.get(f"{KEYS}/{spent['key_id']}/ledger", params={"format": "csv"})
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    links = ledger_of(admin, spent["key_id"])
    assert [row["hash"] for row in rows] == [link["hash"] for link in links]
    assert (rows[0]["kind"], rows[0]["budget_after"], rows[0]["charged"]) == ("genesis", "10", "")
    settled = links[2]["record"]
    assert {name: rows[2][name] for name in ("kind", "request_id", "charged", "replayed", "used_after")} == {
        "kind": "settle",
        "request_id": settled["request_id"],
        "charged": "1",
        "replayed": "1",
        "used_after": "3",
    }
    at = datetime.fromisoformat(rows[2]["at"])
    assert (at.tzinfo, round(at.timestamp() * 1000)) == (UTC, settled["at_ms"])


def test_the_whole_ledger_is_an_export_file_that_verifies(
    admin: httpx.Client, spent: dict[str, Any], tmp_path: Path
) -> None:
    answer = admin.get("/v1/admin/export")
    assert answer.status_code == 200
    verified = verify_export(answer.content.splitlines(keepends=True))
    accounts = {account.key_id: account for account in verified.accounts}
    assert accounts[spent["key_id"]].used == 3
    assert len(accounts) == len(admin.get(KEYS).json()["data"])
    file = tmp_path / "ledger.jsonl"
    file.write_bytes(answer.content)
    assert CliRunner().invoke(cli.app, ["ledger", "verify", str(file)]).exit_code == 0
    file.write_bytes(b"".join(answer.content.splitlines(keepends=True)[:-1]))
    cut = CliRunner().invoke(cli.app, ["ledger", "verify", str(file)])
    assert "its last line is missing" in str(cut.exception)


def test_an_export_of_a_ledger_that_does_not_hold_is_cut(
    start_service: Callable[..., Any], photo: Callable[..., bytes]
) -> None:
    """The connection ends without the last chunk, and what came lacks the last line."""
    service = start_service(admin_key=ADMIN_KEY)
    service.embed(service.key(), photo(1))
    with sqlite3.connect(service.service.settings.data_dir / "ledger.sqlite") as db:
        db.execute("UPDATE keys SET used = 2")
    db.close()
    received = b""
    with (
        service.client(ADMIN_KEY) as admin,
        pytest.raises(httpx.RemoteProtocolError),
        admin.stream("GET", "/v1/admin/export") as answer,
    ):
        for part in answer.iter_bytes():
            received += part
    assert answer.status_code == 200
    assert b'"kind":"record"' in received
    assert b'"kind":"end"' not in received


def test_a_ledger_that_is_away_is_503_and_no_cut_export(start_service: Callable[..., Any]) -> None:
    service = start_service(admin_key=ADMIN_KEY)
    key_id = service.key().split("_")[1]
    service.run(service.service.archive.close())
    with service.client(ADMIN_KEY) as admin:
        for path in ("/v1/admin/export", f"{KEYS}/{key_id}/ledger", KEYS, "/v1/admin/usage"):
            answer = admin.get(path)
            refusal(answer, 503, "ledger_unavailable")
            assert answer.headers[Header.RETRY_AFTER] == "5"


def test_a_ledger_on_redis_is_administered_in_the_same_way(
    start_service: Callable[..., Any], start_redis: Callable[..., Any], photo: Callable[..., bytes]
) -> None:
    service = start_service(admin_key=ADMIN_KEY, ledger=start_redis().url)
    with service.client(ADMIN_KEY) as admin:
        named = {Header.IDEMPOTENCY_KEY.value: "once"}
        made = admin.post(KEYS, json={"name": "alice", "budget": 1}, headers=named).json()
        refusal(admin.post(KEYS, json={"name": "alice", "budget": 1}, headers=named), 409, "key_exists")
        path, body = f"{KEYS}/{made['key_id']}", {"queries": 1, "expected_budget": 1}
        assert admin.post(f"{path}/grants", json=body).json()["budget"] == 2
        refusal(admin.post(f"{path}/grants", json=body), 409, "budget_changed")
        assert service.embed(made["key"], photo(1), photo(2)).status_code == 200
        [row] = usage(admin, by="key")
        assert (row["used"], row["requests"], row["charged"]) == (2, 1, 2)
        assert admin.post(f"{path}/revoke").json()["revoked"]
        refusal(admin.post(f"{path}/grants", json={"queries": 1}), 409, "key_revoked")
        refusal(service.embed(made["key"], photo(1)), 401, "invalid_api_key")
        exported = admin.get("/v1/admin/export").content.splitlines(keepends=True)
        assert verify_export(exported).used == 2
        refusal(admin.get(f"{KEYS}/nobody"), 404, "not_found")
        refusal(admin.get(f"{KEYS}/nobody/ledger"), 404, "not_found")
