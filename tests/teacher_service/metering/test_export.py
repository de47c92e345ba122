"""Audit, export, import: what moves keeps its chain, and any change is found and named."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from tampering import tamper

from shared.digest import canonical_json, sha256_hex
from teacher_service.access.keys import authenticate, mint
from teacher_service.metering.archive import LedgerInvalid, LedgerNotEmpty
from teacher_service.metering.auditing.exporting import export_ledger
from teacher_service.metering.auditing.verify import import_ledger, verify_export, verify_store
from teacher_service.metering.ledger import BudgetExhausted, LedgerUnavailable


@pytest.fixture
def desk(sqlite_desk: Any) -> Any:
    """The tests here look into the file."""
    return sqlite_desk


def exported(desk: Any) -> bytes:
    out = io.BytesIO()
    desk.run(export_ledger(desk.ledger, out))
    return out.getvalue()


def lines_of(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def sealed(lines: list[bytes]) -> list[bytes]:
    """An export with a right last line: what a careful forger would write."""
    body = b"".join(lines)
    kinds = [orjson.loads(line)["kind"] for line in lines]
    end = {
        "kind": "end",
        "keys": kinds.count("key"),
        "records": kinds.count("record"),
        "digest": sha256_hex(body),
    }
    return [*lines, canonical_json(end) + b"\n"]


def changed(line: bytes, **members: Any) -> bytes:
    return canonical_json({**orjson.loads(line), **members}) + b"\n"


def refusal(lines: list[bytes]) -> str:
    with pytest.raises(LedgerInvalid) as caught:
        verify_export(lines)
    return str(caught.value)


@pytest.fixture
def busy(desk: Any) -> Any:
    """Two keys, each with a history of its own; the first of them bought, replayed, was granted more."""
    one = desk.new_key(budget=3)
    desk.clock.now_ms += 1
    other = desk.new_key(budget=9, billing="every-call", name="Grüße, 学生")
    desk.buy(one, "a", "b")
    desk.run(desk.ledger.grant(one, 2))
    desk.buy(one, "b", "c")
    desk.buy(other, "a")
    desk.buy(other, "a", "d", revision="retrained")
    desk.buy(one, "a")
    desk.run(desk.ledger.revoke(other))
    return desk


def test_a_sound_ledger_verifies(busy: Any) -> None:
    verified = busy.run(verify_store(busy.ledger))
    assert (len(verified.accounts), verified.records, verified.used) == (2, 9, 6)


def test_an_empty_ledger_verifies_and_moves(desk: Any, make_desk: Callable[..., Any], tmp_path: Path) -> None:
    assert desk.run(verify_store(desk.ledger)).accounts == ()
    fresh = make_desk(tmp_path / "fresh.sqlite")
    assert fresh.run(import_ledger(fresh.ledger, lines_of(exported(desk)))).accounts == ()


def test_holds_do_not_disturb_a_verification(busy: Any) -> None:
    busy.reserve(busy.new_key(), "x", "y")
    busy.run(verify_store(busy.ledger))


def test_an_export_is_one_canonical_line_for_each_key_and_record_in_order_of_key_ids(busy: Any) -> None:
    data = exported(busy)
    documents = [orjson.loads(line) for line in lines_of(data)]
    assert data == b"".join(canonical_json(document) + b"\n" for document in documents)
    assert [document["kind"] for document in documents] == [
        "ration-ledger-export/1",
        *(["key"] + ["record"] * documents[1]["records"]),
        *(["key"] + ["record"] * documents[2 + documents[1]["records"]]["records"]),
        "end",
    ]
    ids = [document["key_id"] for document in documents if document["kind"] == "key"]
    assert ids == sorted(ids)
    assert verify_export(lines_of(data)).used == 6


def test_an_import_keeps_every_byte_of_the_chain_and_goes_on(
    busy: Any, make_desk: Callable[..., Any], tmp_path: Path
) -> None:
    data = exported(busy)
    fresh = make_desk(tmp_path / "fresh.sqlite", busy.clock)
    assert fresh.run(import_ledger(fresh.ledger, lines_of(data))) == verify_export(lines_of(data))
    assert exported(fresh) == data
    assert fresh.run(fresh.ledger.keys()) == busy.run(busy.ledger.keys())
    one, other = fresh.run(fresh.ledger.keys())
    assert fresh.buy(one.key_id, "a", "z").charged == 1, "what was paid stays paid"
    assert other.revoked
    fresh.run(verify_store(fresh.ledger))


def test_keys_work_after_a_move(desk: Any, make_desk: Callable[..., Any], tmp_path: Path) -> None:
    text, new = mint("a", 5, "600/minute")
    desk.run(desk.ledger.create_key(new))
    fresh = make_desk(tmp_path / "fresh.sqlite")
    fresh.run(import_ledger(fresh.ledger, lines_of(exported(desk))))
    record = fresh.run(authenticate(fresh.ledger, f"Bearer {text}"))
    assert (record.key_id, record.rate) == (new.key_id, "600/minute")
    assert text.rsplit("_", 1)[1].encode() not in exported(desk), "the secret itself is nowhere"


def test_an_import_keeps_what_each_window_and_day_has_used(
    desk: Any, make_desk: Callable[..., Any], tmp_path: Path
) -> None:
    key = desk.new_key(budget=2, window="day")
    desk.buy(key, "a", "b")
    desk.clock.now_ms += 86_400_000
    desk.buy(key, "a", "c")
    fresh = make_desk(tmp_path / "fresh.sqlite", desk.clock)
    fresh.run(import_ledger(fresh.ledger, lines_of(exported(desk))))
    assert fresh.account(key) == desk.account(key)
    assert (fresh.account(key).used_in_window, fresh.account(key).remaining) == (1, 1)
    usage = fresh.run(fresh.ledger.usage_by_day(key))
    assert usage == desk.run(desk.ledger.usage_by_day(key))
    assert [(day.charged, day.replayed) for day in usage] == [(2, 0), (1, 1)]
    assert fresh.buy(key, "d").remaining == 0
    with pytest.raises(BudgetExhausted):
        fresh.reserve(key, "e")


def test_an_import_goes_only_into_an_empty_ledger(busy: Any) -> None:
    data = exported(busy)
    with pytest.raises(LedgerNotEmpty, match="has keys already"):
        busy.run(import_ledger(busy.ledger, lines_of(data)))
    assert exported(busy) == data


def test_an_import_is_all_or_nothing(busy: Any, make_desk: Callable[..., Any], tmp_path: Path) -> None:
    """The last record is bad, or the file cannot be read to its end: not one key remains."""
    lines = lines_of(exported(busy))
    fresh = make_desk(tmp_path / "fresh.sqlite")
    lines[-2] = changed(lines[-2], hash="0" * 64)
    with pytest.raises(LedgerInvalid):
        fresh.run(import_ledger(fresh.ledger, lines))
    assert fresh.run(fresh.ledger.keys()) == []

    def torn() -> Any:
        yield from lines[:-3]
        raise OSError("the disk was unplugged")

    with pytest.raises(OSError, match="unplugged"):
        fresh.run(import_ledger(fresh.ledger, torn()))
    assert fresh.run(fresh.ledger.keys()) == []


def test_the_first_bad_record_is_named_with_line_key_and_record(busy: Any) -> None:
    lines = lines_of(exported(busy))[:-1]
    key_id = orjson.loads(lines[1])["key_id"]
    document = orjson.loads(lines[3])
    document["record"]["at_ms"] += 1
    lines[3] = canonical_json(document) + b"\n"
    message = refusal(sealed(lines))
    assert message.startswith(f"Line 4 (key {key_id}): Ledger record 1: its hash does not follow")


def test_a_dropped_swapped_or_cut_record_is_found_in_a_resealed_file(busy: Any) -> None:
    lines = lines_of(exported(busy))[:-1]
    for position in range(2, len(lines)):
        if orjson.loads(lines[position])["kind"] == "record":
            assert "Line" in refusal(sealed(lines[:position] + lines[position + 1 :]))
    swapped = [*lines[:3], lines[4], lines[3], *lines[5:]]
    assert "Ledger record 1" in refusal(sealed(swapped))


def test_a_file_that_ends_early_is_never_taken_for_whole(busy: Any) -> None:
    lines = lines_of(exported(busy))
    for end in range(len(lines)):
        assert "ends early" in refusal(lines[:end]) or "Line" in refusal(lines[:end])
    assert f"Line {len(lines)}: the file ends early" in refusal(lines[:-1]).replace(
        f" (key {orjson.loads(lines[-3])['record']['key_id']})", ""
    )


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("budget", 99),
        ("used", 0),
        ("records", 1),
        ("head", "0" * 64),
        ("name", "Mallory"),
        ("billing", "every-call"),
        ("window", "day"),
        ("revoked", True),
    ],
)
def test_a_key_line_must_be_what_its_chain_adds_up_to(desk: Any, member: str, value: Any) -> None:
    desk.buy(desk.new_key(budget=3), "a", "b")
    lines = lines_of(exported(desk))[:-1]
    lines[1] = changed(lines[1], **{member: value})
    assert f"{member} = {value!r}" in refusal(sealed(lines))


def test_lines_out_of_place_are_named(busy: Any) -> None:
    lines = lines_of(exported(busy))
    second_key = next(i for i in range(2, len(lines)) if b'"kind":"key"' in lines[i])
    header, first, second = lines[:1], lines[1:second_key], lines[second_key:-1]
    cases = {
        "a key line has no place": [*first, *second],
        "a ration-ledger-export/1 line has no place": sealed([*header, *header, *first]),
        "out of order": sealed([*header, *second, *first]),
        "comes before its key": sealed([*header, *first[1:]]),
        "has no records": sealed([*header, first[0], *second]),
        "belongs to key": sealed([*header, first[0], *second[1:]]),
        "an end line has no place": [*lines, lines[-1]],
        "should hold": [*header, *first, lines[-1]],
    }
    for reason, forged in cases.items():
        assert reason.replace("an end", "a end") in refusal(forged)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"not json\n",
        b"[]\n",
        b"null\n",
        b'{"kind":"treasure"}\n',
        b'{"kind": "ration-ledger-export/1"}\n',
        b'{"kind":"key","kind":"ration-ledger-export/1"}\n',
        b'{"kind":"ration-ledger-export/2"}\n',
        b'{"kind":"ration-ledger-export/1","x":1.0}\n',
        b'{"kind":"ration-ledger-export/1"}',
        b"\xff\n",
        b"[" * 3000 + b"\n",
        b'{"a":' * 900 + b"1" + b"}" * 900 + b"\n",
    ],
)
def test_what_is_no_line_of_an_export_is_refused(line: bytes) -> None:
    assert refusal([line]).startswith("Line 1:")


def test_every_byte_of_an_export_counts(desk: Any) -> None:
    """Each byte flipped in turn, in two ways: always refused, hashes of secrets and names included."""
    desk.buy(desk.new_key(budget=1), "a")
    data = exported(desk)
    assert verify_export(lines_of(data)).used == 1
    for position in range(len(data)):
        for mask in (0x01, 0x20):
            flipped = bytearray(data)
            flipped[position] ^= mask
            refusal(lines_of(bytes(flipped)))


TAMPERING = {
    "a record edited": (
        "UPDATE events SET record = CAST(replace(CAST(record AS TEXT), 'request-1', 'request-9') AS BLOB)",
        "Ledger record 1: its hash does not follow",
    ),
    "a record that is no JSON": ("UPDATE events SET record = x'7b' WHERE seq = 1", "cannot be read"),
    "a record dropped": ("DELETE FROM events WHERE seq = 1", "Ledger record 1"),
    "the last records dropped": ("DELETE FROM events WHERE seq > 2", "is missing"),
    "every record dropped": ("DELETE FROM events", "Ledger record 0: is missing"),
    "a hash edited": ("UPDATE events SET hash = zeroblob(32) WHERE seq = 2", "Ledger record 2"),
    "a record added behind the head": (
        "INSERT INTO events SELECT key_no, seq + 1, record, hash FROM events WHERE seq = 4 AND key_no = 1",
        "records = ",
    ),
    "a budget raised": ("UPDATE keys SET budget = budget + 100", "budget = "),
    "spending forgotten": ("UPDATE keys SET used = 0", "used = 0"),
    "spending in the window forgotten": (
        "UPDATE keys SET used_in_window = used_in_window - 1 WHERE key_no = 1",
        "2 queries are used in window 0; its chain gives 3 in window 0",
    ),
    "a later window begun under a budget in total": (
        "UPDATE keys SET window_index = 1, used_in_window = 0",
        "0 queries are used in window 1; its chain gives",
    ),
    "a budget in total made one for each day": ("UPDATE keys SET \"window\" = 'day'", "window = 'day'"),
    "a day's usage raised": (
        "UPDATE usage_by_day SET charged = charged + 1 WHERE key_no = 1",
        "1 days of usage disagree; the first is 2023-11-14: 3 requests, 4 charged, 2 replayed in the store, "
        "3 requests, 3 charged, 2 replayed on the chain",
    ),
    "a day's usage moved to the next": (
        "UPDATE usage_by_day SET day = day + 1 WHERE key_no = 1",
        "2 days of usage disagree; the first is 2023-11-14: nothing in the store, 3 requests",
    ),
    "a day's usage dropped": (
        "DELETE FROM usage_by_day WHERE key_no = 2",
        "2023-11-14: nothing in the store",
    ),
    "a revocation lifted": ("UPDATE keys SET revoked = 1 - revoked", "revoked = "),
    "a name changed": ("UPDATE keys SET name = 'Mallory'", "name = 'Mallory'"),
    "a head rolled back": ("UPDATE keys SET seq = seq - 1", "records = |head = |revoked = "),
    "paid images added": (
        "INSERT INTO charged SELECT key_no, revision, zeroblob(32), 1 FROM charged LIMIT 1",
        "image 000000000000 under .* paid in the store, unpaid on the chain",
    ),
    "paid images taken away": ("DELETE FROM charged", "unpaid in the store, paid on the chain"),
    "a paid image exchanged for another": (
        "UPDATE charged SET image = zeroblob(32) WHERE image = (SELECT min(image) FROM charged)",
        "2 charged images disagree",
    ),
    "a paid image moved to another revision": (
        "UPDATE charged SET revision = zeroblob(32) WHERE image = (SELECT min(image) FROM charged)",
        "2 charged images disagree",
    ),
    "charges miscounted": ("UPDATE charged SET charges = charges + 1", "sum up to"),
    "queries held by nobody": ("UPDATE keys SET held = 1 WHERE revoked = 0", "1 queries are held"),
    "the genesis exchanged": (
        "UPDATE events SET record = (SELECT record FROM events WHERE key_no = 2 AND seq = 0),"
        " hash = (SELECT hash FROM events WHERE key_no = 2 AND seq = 0) WHERE key_no = 1 AND seq = 0",
        "Ledger record 1|chain of its own",
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_with_the_store_is_found(busy: Any, path: Path, what: str) -> None:
    """Invariant 6."""
    statement, reason = TAMPERING[what]
    tamper(path, statement)
    with pytest.raises(LedgerInvalid, match=reason):
        busy.run(verify_store(busy.ledger))
    with pytest.raises(LedgerInvalid):
        exported(busy)


def test_a_server_may_go_on_while_its_ledger_is_exported(
    busy: Any, make_desk: Callable[..., Any], path: Path
) -> None:
    """Each key is exported as of one moment: a purchase in between is not in the file, nor half in it."""
    beside = make_desk(path, busy.clock, serve=False)
    one = busy.run(busy.ledger.keys())[0].key_id

    class BuyingMeanwhile(io.BytesIO):
        bought = 0

        def write(self, data: Any) -> int:
            if one.encode() in data and self.bought < 1:
                self.bought += 1
                # A write of the server, from another connection, between two reads of the export.
                import threading

                thread = threading.Thread(target=lambda: busy.buy(one, f"meanwhile {self.bought}"))
                thread.start()
                thread.join()
            return super().write(data)

    out = BuyingMeanwhile()
    verified = beside.run(export_ledger(beside.ledger, out))
    assert out.bought == 1
    assert verified.used == 6
    assert verify_export(lines_of(out.getvalue())).used == 6
    assert busy.account(one).used == 4


def test_an_unreadable_store_is_reported_as_such(desk: Any) -> None:
    desk.new_key()
    desk.run(desk.ledger.close())
    with pytest.raises(LedgerUnavailable):
        desk.run(verify_store(desk.ledger))
