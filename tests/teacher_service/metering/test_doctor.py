"""The doctor names every key that is wrong, whatever was done to it, and calls a whole ledger healthy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tampering import tamper

from teacher_service.metering.auditing.doctor import Finding, examine
from teacher_service.metering.ledger import LedgerUnavailable
from teacher_service.metering.redis.keyspace import names_of
from teacher_service.metering.redis.store import RedisLedger

LEASE_MS = 10_000


@pytest.fixture
def desk(sqlite_desk: Any) -> Any:
    """The tests here look into the file."""
    return sqlite_desk


def three_keys(desk: Any) -> list[str]:
    """Three keys that bought two images each; the last one was granted more, and holds two queries."""
    made = []
    for index in range(3):
        made.append(desk.new_key(budget=10, name=f"student {index}"))
        desk.buy(made[-1], "a", "b")
    desk.run(desk.ledger.grant(made[2], 5))
    desk.reserve(made[2], "c", "d")
    return made


@pytest.fixture
def keys(desk: Any) -> list[str]:
    return three_keys(desk)


def finding_of(desk: Any) -> Finding:
    finding: Finding = desk.run(examine(desk.ledger))
    return finding


def test_a_whole_ledger_is_healthy_in_one_line(desk: Any, keys: list[str]) -> None:
    finding = finding_of(desk)
    assert finding.healthy
    assert finding.summary == (
        "healthy: 3 keys, 7 records: used 6 = events 6 = charged images 6; "
        "held 2 = 2 under 1 holds; the store is sound "
        "(no watermarks here: a store put back to an older state cannot be seen)."
    )
    compared = desk.run(examine(desk.ledger, marks=3))
    assert compared.summary.endswith("is sound, and holds the newest records that were seen of 3 keys.")


def test_an_empty_ledger_is_healthy(desk: Any) -> None:
    assert finding_of(desk).summary.startswith("healthy: 0 keys, 0 records")


def test_expired_holds_that_still_stand_are_said_and_no_fault(desk: Any, keys: list[str]) -> None:
    desk.clock.now_ms += LEASE_MS
    finding = finding_of(desk)
    assert finding.healthy
    assert "held 2 = 2 under 1 holds (1 expired, not yet given back)" in finding.summary


# --- SQLite -------------------------------------------------------------------------------------------


@pytest.fixture
def file_desk(make_desk: Callable[..., Any], path: Path, clock: Any) -> Any:
    return make_desk(path, clock)


@pytest.fixture
def file_keys(file_desk: Any) -> list[str]:
    return three_keys(file_desk)


def test_it_works_beside_a_serving_ledger(
    make_desk: Callable[..., Any], path: Path, file_desk: Any, file_keys: list[str]
) -> None:
    assert finding_of(make_desk(path, file_desk.clock, serve=False)).healthy


OF_THE_SECOND = "WHERE key_no = 2"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (f"UPDATE keys SET used = 1, used_in_window = 1 {OF_THE_SECOND}", "used"),
        (f"UPDATE keys SET budget = 99 {OF_THE_SECOND}", "budget"),
        (f"UPDATE keys SET held = 3 {OF_THE_SECOND}", "held"),
        (f"UPDATE keys SET revoked = 1 {OF_THE_SECOND}", "revoked"),
        (f"UPDATE keys SET name = 'mallory' {OF_THE_SECOND}", "name"),
        (f"UPDATE keys SET head = zeroblob(32) {OF_THE_SECOND}", "head"),
        (f"UPDATE events SET hash = zeroblob(32) {OF_THE_SECOND} AND seq = 1", "record 1"),
        (f"UPDATE events SET record = x'7b7d' {OF_THE_SECOND} AND seq = 0", "record 0"),
        (f"UPDATE events SET record = x'ff' {OF_THE_SECOND} AND seq = 1", "cannot be read"),
        (f"DELETE FROM events {OF_THE_SECOND} AND seq = 1", "record 1: is missing"),
        (f"DELETE FROM charged {OF_THE_SECOND} AND image IN (SELECT min(image) FROM charged)", "unpaid"),
        (f"UPDATE charged SET charges = 5 {OF_THE_SECOND}", "sum up to"),
        (f"UPDATE usage_by_day SET charged = 7 {OF_THE_SECOND}", "day"),
    ],
)
def test_a_change_is_found_and_its_key_is_named(
    file_desk: Any, path: Path, file_keys: list[str], statement: str, words: str
) -> None:
    tamper(path, statement)
    finding = finding_of(file_desk)
    [fault] = finding.faults
    assert (fault.key_id, fault.name == "student 1" or words == "name") == (file_keys[1], True)
    assert file_keys[1] in fault.what
    assert words in fault.what
    assert not finding.healthy
    assert finding.summary.startswith("1 of 3 keys do not hold")


def test_it_goes_on_after_a_fault_and_names_every_bad_key(
    file_desk: Any, path: Path, file_keys: list[str]
) -> None:
    tamper(path, "UPDATE keys SET budget = 99 WHERE key_no = 1", "DELETE FROM holds WHERE key_no = 3")
    finding = finding_of(file_desk)
    assert {fault.key_id for fault in finding.faults} == {file_keys[0], file_keys[2]}
    assert (finding.keys, finding.records) == (3, 2)


def test_more_used_and_held_than_the_budget_is_found(
    file_desk: Any, path: Path, file_keys: list[str]
) -> None:
    """Invariant 1. Holds and their sum are raised together, so that no other check sees it."""
    tamper(
        path,
        "UPDATE keys SET held = 20 WHERE key_no = 3",
        "UPDATE holds SET charges = 20 WHERE key_no = 3",
    )
    finding = finding_of(file_desk)
    [fault] = finding.faults
    assert "2 queries are used and 20 are held of a budget of 15" in fault.what
    assert any("CHECK constraint" in what for what in finding.store_faults)


def test_rows_that_hang_on_nothing_are_faults_of_the_store(
    file_desk: Any, path: Path, file_keys: list[str]
) -> None:
    tamper(path, "DELETE FROM keys WHERE key_no = 2")
    finding = finding_of(file_desk)
    assert finding.faults == ()
    assert any("events hangs on no row of keys" in what for what in finding.store_faults)
    assert "the store itself has" in finding.summary


def test_a_damaged_page_is_a_fault_of_the_store(
    make_desk: Callable[..., Any], file_desk: Any, path: Path, file_keys: list[str]
) -> None:
    for _ in range(30):
        file_desk.buy(file_keys[0], "a")
    file_desk.close()
    data = bytearray(path.read_bytes())
    page_size = int.from_bytes(data[16:18], "big")
    position = data.rindex(b'"kind":"settle"') // page_size * page_size
    data[position : position + 200] = b"\xff" * 200
    path.write_bytes(data)
    finding = finding_of(make_desk(path, file_desk.clock, serve=False))
    assert finding.store_faults
    assert not finding.healthy


def test_a_file_that_is_away_is_no_verdict(file_desk: Any, file_keys: list[str]) -> None:
    file_desk.run(file_desk.ledger.close())
    with pytest.raises(LedgerUnavailable):
        finding_of(file_desk)


# --- Redis --------------------------------------------------------------------------------------------


Tampering = Callable[[Any, Any], object]


@pytest.mark.parametrize(
    ("tampering", "words"),
    [
        (lambda db, at: db.hset(at.account, "used", 1), "used"),
        (lambda db, at: db.hset(at.account, "budget", 99), "budget"),
        (lambda db, at: db.hset(at.account, "held", 3), "held"),
        (lambda db, at: db.hset(at.account, "revoked", 1), "revoked"),
        (lambda db, at: db.hset(at.days, "19675", "plenty"), "makes no sense"),
        (lambda db, at: db.delete(at.days), "day"),
        (lambda db, at: db.delete(at.revisions), "charged images disagree"),
        (lambda db, at: db.xdel(at.events, "1-1"), "record 1"),
        (lambda db, at: db.delete(at.events), "its chain is gone"),
    ],
)
def test_a_change_in_redis_is_found_and_its_key_is_named(
    make_redis_desk: Callable[..., Any], redis_server: Any, tampering: Tampering, words: str
) -> None:
    desk = make_redis_desk()
    keys = three_keys(desk)
    client = redis_server.client()
    tampering(client, names_of(keys[1]))
    client.close()
    finding = finding_of(desk)
    [fault] = finding.faults
    assert (fault.key_id, keys[1] in fault.what, words in fault.what) == (keys[1], True, True), fault.what
    assert finding.summary.startswith("1 of 3 keys do not hold")


def test_an_account_in_redis_that_cannot_be_read_is_a_fault(
    make_redis_desk: Callable[..., Any], redis_server: Any
) -> None:
    desk = make_redis_desk()
    client = redis_server.client()
    client.hset(names_of(three_keys(desk)[1]).account, "used", "plenty")
    client.close()
    finding = finding_of(desk)
    [what] = finding.store_faults
    assert "plenty" in what
    assert not finding.healthy


def test_a_redis_that_is_away_is_no_verdict(
    make_redis_desk: Callable[..., Any], start_redis: Callable[..., Any]
) -> None:
    server = start_redis()
    desk = make_redis_desk()
    ledger = RedisLedger(server.url, serve=False)
    desk.run(ledger.open())
    server.stop()
    with pytest.raises(LedgerUnavailable):
        desk.run(examine(ledger))
    desk.run(ledger.close())
