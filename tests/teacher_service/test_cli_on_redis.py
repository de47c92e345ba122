"""The commands on a Redis ledger: an empty database, an unsafe server, and one that went back in time."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, one_line
from redis_process import RedisProcess

from teacher_service.metering.redis.store import RedisLedger

ALLOWED = "TEACHER_ALLOW_UNSAFE_REDIS"


@pytest.fixture(scope="module")
def server(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return start_redis()


@pytest.fixture
def redis(server: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisProcess]:
    """An empty Redis, safe for a ledger, that the commands are told of."""
    monkeypatch.setenv("TEACHER_LEDGER", server.url)
    yield server
    with server.client() as client:
        client.flushall()
        client.config_set("maxmemory-policy", "noeviction")


@pytest.fixture
def unsafe(redis: RedisProcess, run: Run) -> RedisProcess:
    """A Redis with a ledger and a key, that evicts since."""
    assert run("keys", "create", "alice", "--budget", "10").code == 0
    with redis.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    return redis


@pytest.mark.parametrize(
    "command",
    [
        ("keys", "list"),
        ("keys", "grant", "alice", "5"),
        ("keys", "revoke", "alice"),
        ("usage",),
        ("ledger", "show"),
        ("ledger", "verify"),
        ("ledger", "doctor"),
    ],
)
def test_an_empty_database_holds_no_ledger_and_gets_none(
    run: Run, redis: RedisProcess, command: tuple[str, ...]
) -> None:
    """A mistyped database would look like a healthy ledger without keys."""
    line = one_line(run(*command), 4)
    assert f"There is no ledger at {redis.url}" in line
    assert "--ledger" in line
    with redis.client() as client:
        assert client.keys("*") == []


def test_a_new_ledger_in_redis_is_said_once_and_without_its_password(
    run: Run, start_redis: Callable[..., RedisProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_redis(requirepass="topsecret")
    monkeypatch.setenv("TEACHER_LEDGER", server.url)
    first = run("keys", "create", "alice", "--budget", "1")
    assert first.err == f"teacher-service: made a new ledger at redis://127.0.0.1:{server.port}/0\n"
    assert run("keys", "create", "bob", "--budget", "1").err == ""
    server.stop()


def test_a_service_that_begins_a_new_ledger_logs_where(
    start_service: Callable[..., Any], start_redis: Callable[..., RedisProcess], caplog: Any, tmp_path: Path
) -> None:
    server = start_redis()
    caplog.set_level("INFO", logger="teacher_service")
    for data_dir in (tmp_path / "one", tmp_path / "other"):  # the second finds the ledger of the first
        data_dir.mkdir()
        (data_dir / "signing.key").write_text("07" * 32)
        (data_dir / "signing.key").chmod(0o600)
        start_service(ledger=server.url, data_dir=data_dir)
    [record] = [record for record in caplog.records if record.message == "new_ledger"]
    assert record.fields["place"] == server.url


@pytest.mark.parametrize("command", [("keys", "list"), ("usage",), ("ledger", "show"), ("ledger", "verify")])
def test_a_look_at_an_unsafe_redis_is_let_through_with_the_reason(
    run: Run, unsafe: RedisProcess, command: tuple[str, ...]
) -> None:
    looked = run(*command)
    assert looked.code == 0
    [line] = looked.err.splitlines()
    assert line == "teacher-service: warning: maxmemory-policy is allkeys-lru, it must be noeviction"


def test_an_export_is_the_way_out_of_an_unsafe_redis(
    run: Run, unsafe: RedisProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ledger.jsonl"
    assert run("ledger", "export", str(file)).code == 0
    monkeypatch.delenv("TEACHER_LEDGER")
    assert run("ledger", "import", str(file)).code == 0
    assert "alice" in run("keys", "list").out


def test_an_import_into_a_redis_that_has_a_ledger_says_to_name_another_database(
    run: Run, redis: RedisProcess, tmp_path: Path
) -> None:
    run("keys", "create", "alice", "--budget", "10")
    run("ledger", "export", str(tmp_path / "ledger.jsonl"))
    refused = one_line(run("ledger", "import", str(tmp_path / "ledger.jsonl")), 2)
    assert "Name an empty database with --ledger" in refused


def test_the_doctor_examines_an_unsafe_redis_and_reports_it(run: Run, unsafe: RedisProcess) -> None:
    told = run("ledger", "doctor", "--json")
    assert told.code == 7
    assert told.json["keys"] == 1
    assert "maxmemory-policy is allkeys-lru" in told.json["store_faults"][0]


def test_what_writes_to_an_unsafe_redis_names_the_variable_that_allows_it(
    run: Run, unsafe: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (("keys", "create", "bob", "--budget", "1"), ("keys", "grant", "alice", "5")):
        line = one_line(run(*command), 4)
        assert "maxmemory-policy is allkeys-lru" in line
        assert f"{ALLOWED}=true" in line
        monkeypatch.setenv(ALLOWED, "true")
        assert run(*command).code == 0
        monkeypatch.delenv(ALLOWED)
    accounts = run("keys", "list", "--json").json["keys"]
    assert [(account["name"], account["budget"]) for account in accounts] == [("alice", 15), ("bob", 1)]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("redis://", "redis://:wrong@", "Check user and password in the ledger's URL"),
        ("/0", "/99", "has no database of that number"),
    ],
)
def test_a_url_that_leads_to_no_ledger_is_told_with_the_part_to_check(
    run: Run,
    redis: RedisProcess,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    after: str,
    words: str,
) -> None:
    monkeypatch.setenv("TEACHER_LEDGER", redis.url.replace(before, after))
    line = one_line(run("keys", "create", "alice", "--budget", "1"), 4)
    assert words in line
    assert "wrong@" not in line


def test_a_server_that_is_no_redis_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_as_a_web_server() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer_as_a_web_server)
        thread.start()
        monkeypatch.setenv("TEACHER_LEDGER", f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        line = one_line(run("keys", "list"), 4)
        thread.join(timeout=30)
    assert "What answers there is no Redis: check host and port" in line


# --- a store that went back in time -------------------------------------------------------------------


def grant_as_a_service(url: str, data_dir: Path, key_id: str) -> None:
    """What a service saw of the ledger stays in its data folder."""

    async def served() -> None:
        ledger = RedisLedger(url, serve=True, watermarks=data_dir / "watermarks.sqlite")
        await ledger.open()
        await ledger.grant(key_id, 5)
        await ledger.close()

    asyncio.run(served())


def test_the_doctor_says_whether_it_knows_what_was_there_before(
    run: Run, redis: RedisProcess, data_dir: Path
) -> None:
    key_id = run("keys", "create", "alice", "--budget", "10", "--json").json["key_id"]
    told = run("ledger", "doctor").out
    assert "no watermarks here: a store put back to an older state cannot be seen" in told
    grant_as_a_service(redis.url, data_dir, key_id)
    assert "holds the newest records that were seen of 1 keys" in run("ledger", "doctor").out
    elsewhere = run("ledger", "doctor", "--data-dir", str(data_dir / "elsewhere"))
    assert (elsewhere.code, "no watermarks here" in elsewhere.out) == (0, True)


@pytest.mark.parametrize("emptied", [False, True])
def test_a_redis_that_was_put_back_or_emptied_is_a_fault_of_the_store(
    run: Run, redis: RedisProcess, data_dir: Path, emptied: bool
) -> None:
    key_id = run("keys", "create", "alice", "--budget", "10", "--json").json["key_id"]
    with redis.client() as client:
        before = {name: client.dump(name) for name in client.keys("*")}
        grant_as_a_service(redis.url, data_dir, key_id)
        client.flushall()
        for name, value in before.items() if not emptied else ():
            client.restore(name, 0, value)
    told = run("ledger", "doctor", "--json")
    assert (told.code, told.json["ok"], told.json["marks"]) == (7, False, 0)
    [fault] = told.json["store_faults"]
    assert ("was emptied" if emptied else f"record 1 of key {key_id} was seen and is gone") in fault
    assert told.err == "teacher-service: the store itself has 1 faults.\n"
    one_line(run("keys", "list"), 7)
    one_line(run("keys", "create", "bob", "--budget", "1"), 7)
