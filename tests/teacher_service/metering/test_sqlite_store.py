"""What SQLite adds to the contract: files, owners, crashes, full disks, locks, and tampering by hand."""

import asyncio
import json
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.ledger import HoldExpired, LedgerUnavailable
from teacher_service.metering.sqlite import database
from teacher_service.metering.sqlite.store import SqliteLedger
from teacher_service.metering.sqlite.transactions import reserve, settle


@pytest.fixture
def desk(sqlite_desk: Any) -> Any:
    """The tests here look into the file."""
    return sqlite_desk


def by_hand(path: Path, *statements: str) -> None:
    """Change a ledger behind its back, as somebody with the file could."""
    db = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


class TestFiles:
    def test_the_file_is_private_and_its_folder_is_made(self, desk: Any, path: Path) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_every_commit_reaches_the_disk_before_it_is_acknowledged(self, path: Path, desk: Any) -> None:
        assert path.with_name(path.name + "-wal").exists()
        db = database.connect(path, busy_timeout_ms=0)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
        db.close()

    def test_a_closed_ledger_opens_again_as_it_was(
        self, make_desk: Callable[..., Any], path: Path, clock: Any
    ) -> None:
        desk = make_desk(path, clock)
        key = desk.new_key(budget=3)
        desk.buy(key, "a", idem="call")
        desk.close()
        again = make_desk(path, clock)
        assert again.account(key).used == 1
        assert again.buy(key, "a", idem="call").charged == 0

    def test_opening_twice_is_harmless_and_closing_twice_too(self, desk: Any) -> None:
        desk.open()
        key = desk.new_key()
        desk.run(desk.ledger.close())
        desk.run(desk.ledger.close())
        desk.open()
        assert desk.account(key).used == 0

    def test_nothing_works_on_a_ledger_that_is_not_open(self, desk: Any) -> None:
        key = desk.new_key()
        hold = desk.reserve(key, "a")
        desk.run(desk.ledger.close())
        for work in (
            lambda: desk.account(key),
            lambda: desk.reserve(key, "b"),
            lambda: desk.settle(hold),
            lambda: desk.run(desk.ledger.keys()),
            lambda: desk.run(desk.ledger.ping()),
        ):
            with pytest.raises(LedgerUnavailable, match="not open"):
                work()

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"this is no database, but it is long enough to be one " * 20, "cannot be opened"),
            (b"SQLite format 3\x00" + b"\xff" * 500, "cannot be opened"),
        ],
    )
    def test_a_file_that_is_no_database_is_refused_and_left_alone(
        self, path: Path, content: bytes, reason: str
    ) -> None:
        path.parent.mkdir()
        path.write_bytes(content)
        with pytest.raises(LedgerUnavailable, match=reason):
            asyncio.run(SqliteLedger(path).open())
        assert path.read_bytes() == content

    def test_a_database_of_another_program_is_refused_and_left_alone(self, path: Path) -> None:
        path.parent.mkdir()
        by_hand(path, "CREATE TABLE theirs (x)")
        with pytest.raises(LedgerUnavailable, match="of another program"):
            asyncio.run(SqliteLedger(path).open())
        db = sqlite3.connect(path)
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
        db.close()

    def test_a_ledger_of_a_later_version_is_refused(self, desk: Any, path: Path) -> None:
        desk.close()
        by_hand(path, "PRAGMA user_version = 99")
        with pytest.raises(LedgerUnavailable, match="schema 99, this program knows 2"):
            asyncio.run(SqliteLedger(path).open())

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(LedgerUnavailable, match="cannot be opened"):
            asyncio.run(SqliteLedger(tmp_path / "file" / "ledger.sqlite").open())

    def test_an_old_sqlite_is_refused_by_name(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 0))
        with pytest.raises(LedgerUnavailable, match=r"3\.37\.0 is needed"):
            asyncio.run(SqliteLedger(path).open())

    def test_two_processes_may_create_the_same_ledger(self, path: Path) -> None:
        script = "import asyncio,sys; from pathlib import Path; sys.stdin.readline()\n" + textwrap.dedent(
            """
            from teacher_service.metering.sqlite.store import SqliteLedger
            asyncio.run(SqliteLedger(Path(sys.argv[1]), serve=False).open())
            """
        )
        processes = [
            subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE)
            for _ in range(3)
        ]
        for process in processes:
            process.communicate(b"\n", timeout=60)
        assert [process.returncode for process in processes] == [0, 0, 0]


class TestOwner:
    def test_a_second_server_on_the_same_file_is_refused(self, desk: Any, path: Path) -> None:
        with pytest.raises(LedgerUnavailable, match=r"Another process \(pid \d+\) serves from \S+ Stop it"):
            asyncio.run(SqliteLedger(path).open())

    def test_the_command_line_may_open_it_beside_the_server(
        self, desk: Any, make_desk: Callable[..., Any], path: Path
    ) -> None:
        key = desk.new_key(budget=1)
        hold = desk.reserve(key, "a")
        beside = make_desk(path, desk.clock, serve=False)
        assert beside.account(key).held == 1, "holds of the living server stay"
        beside.run(beside.ledger.grant(key, 4))
        assert desk.settle(hold).budget == 5
        assert desk.buy(key, "b").remaining == 3

    def test_a_revocation_from_the_command_line_reaches_the_server(
        self, desk: Any, make_desk: Callable[..., Any], path: Path
    ) -> None:
        from teacher_service.metering.ledger import KeyRevoked

        key = desk.new_key()
        hold = desk.reserve(key, "a")
        beside = make_desk(path, desk.clock, serve=False)
        beside.run(beside.ledger.revoke(key))
        assert desk.account(key).revoked
        with pytest.raises(KeyRevoked):
            desk.settle(hold)

    def test_the_next_server_takes_over_and_drops_the_holds_at_once(
        self, make_desk: Callable[..., Any], path: Path, clock: Any
    ) -> None:
        first = make_desk(path, clock)
        key = first.new_key(budget=1)
        orphan = first.reserve(key, "a", idem="call")
        first.close()
        second = make_desk(path, clock)
        assert second.account(key).held == 0
        assert second.buy(key, "a", idem="call").charged == 1
        with pytest.raises(HoldExpired):
            second.settle(orphan)

    def test_a_replay_hold_dies_with_its_process(
        self, make_desk: Callable[..., Any], path: Path, clock: Any
    ) -> None:
        first = make_desk(path, clock)
        key = first.new_key()
        first.buy(key, "a")
        orphan = first.reserve(key, "a")
        first.close()
        with pytest.raises(HoldExpired):
            make_desk(path, clock).settle(orphan)

    def test_a_folder_that_allows_no_lock_file_is_named(self, path: Path) -> None:
        path.parent.mkdir()
        path.with_name(path.name + ".owner").mkdir()
        with pytest.raises(LedgerUnavailable, match=r"\.owner cannot be opened"):
            asyncio.run(SqliteLedger(path).open())

    def test_a_server_that_could_not_open_lets_go_of_the_file(
        self, path: Path, make_desk: Callable[..., Any]
    ) -> None:
        make_desk(path, serve=False)
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            asyncio.run(SqliteLedger(path, busy_timeout_ms=20).open())
        blocker.execute("ROLLBACK")
        blocker.close()
        make_desk(path).new_key()


class TestFailures:
    def test_a_locked_store_refuses_everything_and_recovers(
        self, make_desk: Callable[..., Any], path: Path
    ) -> None:
        """Invariant 5: fail closed. Nothing is charged, and the hold can be settled when the lock is gone."""
        desk = make_desk(path, busy_timeout_ms=20)
        key = desk.new_key()
        desk.buy(key, "paid")
        hold, replay = desk.reserve(key, "a"), desk.reserve(key, "paid")
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        for work in (
            lambda: desk.settle(hold),
            lambda: desk.settle(replay),
            lambda: desk.reserve(key, "b"),
            lambda: desk.run(desk.ledger.ping()),
        ):
            with pytest.raises(LedgerUnavailable, match="locked"):
                work()
        blocker.execute("ROLLBACK")
        blocker.close()
        assert (desk.account(key).used, desk.account(key).held) == (1, 1)
        assert desk.settle(hold).charged == 1
        assert desk.settle(replay).replayed == 1
        desk.run(verify_store(desk.ledger))

    def test_a_full_disk_charges_nothing_and_loses_nothing(self, path: Path) -> None:
        """A real write error: the process may not let a file grow any further."""
        report = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(path)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert report.returncode == 0, report.stderr
        outcome = json.loads(report.stdout)
        assert outcome["while full"] == ["LedgerUnavailable"] * 4
        assert outcome["held while full"] == 1
        assert outcome["settled afterwards"] == 1
        assert outcome["verified"] == {"used": 2, "records": 3}

    def test_the_store_itself_stops_an_overdraft(self, desk: Any, path: Path) -> None:
        key = desk.new_key(budget=2)
        with pytest.raises(sqlite3.IntegrityError, match=r"used_in_window \+ held <= budget"):
            by_hand(path, f"UPDATE keys SET used = 3, used_in_window = 3 WHERE key_id = '{key}'")

    def test_the_store_itself_stops_a_second_charge_of_an_image(self, desk: Any, path: Path) -> None:
        """Should our own logic fail, the constraint refuses this request, and only this one."""
        key = desk.new_key()
        hold = desk.reserve(key, "a")
        by_hand(
            path,
            "INSERT INTO charged SELECT key_no, revision, image, 1 FROM held_images",
        )
        with pytest.raises(LedgerUnavailable, match="UNIQUE constraint"):
            desk.settle(hold)
        assert desk.account(key).used == 0
        assert desk.buy(key, "b").charged == 1

    @pytest.mark.parametrize("statement", ["UPDATE events SET seq = 7", "DELETE FROM events"])
    def test_the_store_itself_stops_changes_of_records(self, desk: Any, path: Path, statement: str) -> None:
        desk.new_key()
        with pytest.raises(sqlite3.IntegrityError, match="a ledger record cannot be"):
            by_hand(path, statement)

    def test_a_request_cancelled_while_the_ledger_closes_harms_no_other(self, desk: Any) -> None:
        """Its hold cannot be given back any more; those beside it must still hear their results."""
        key = desk.new_key()

        async def story() -> bool:
            cancelled = asyncio.ensure_future(desk.ledger.reserve(desk.reservation(key, "a")))
            other = asyncio.ensure_future(desk.ledger.reserve(desk.reservation(key, "b")))
            await asyncio.sleep(0)
            cancelled.cancel()
            await desk.ledger.close()
            return bool(await asyncio.wait_for(other, 30))

        assert desk.run(story())
        desk.open()
        assert desk.account(key).held == 0

    def test_the_reading_connection_cannot_write(self, path: Path, desk: Any) -> None:
        db = database.connect(path, busy_timeout_ms=0, read_only=True)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("UPDATE probe SET at_ms = 1")
        db.close()


class TestPing:
    def test_it_writes_at_most_once_a_second(self, desk: Any, path: Path, clock: Any) -> None:
        written = set()
        for _ in range(25):
            desk.run(desk.ledger.ping())
            db = database.connect(path, busy_timeout_ms=0)
            written |= set(db.execute("SELECT at_ms FROM probe").fetchall())
            db.close()
            clock.now_ms += 100
        assert len(written) == 3

    def test_it_repeats_a_failure_until_it_is_time_to_try_again(
        self, make_desk: Callable[..., Any], path: Path, clock: Any
    ) -> None:
        desk = make_desk(path, clock, busy_timeout_ms=10)
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            desk.run(desk.ledger.ping())
        blocker.execute("ROLLBACK")
        blocker.close()
        with pytest.raises(LedgerUnavailable, match="locked"):
            desk.run(desk.ledger.ping())
        clock.now_ms += 1000
        desk.run(desk.ledger.ping())

    def test_a_clock_that_steps_back_makes_it_try_again(self, desk: Any, path: Path, clock: Any) -> None:
        desk.run(desk.ledger.ping())
        clock.now_ms -= 3600_000
        desk.run(desk.ledger.ping())
        db = database.connect(path, busy_timeout_ms=0)
        assert db.execute("SELECT at_ms FROM probe").fetchone() == (clock.now_ms,)
        db.close()


class TestRaces:
    """Between the quick look and the transaction another request may commit: then the transaction decides."""

    def test_a_call_settled_meanwhile_is_a_replay_and_stays_known(self, desk: Any, path: Path) -> None:
        key = desk.new_key(billing="every-call")
        desk.buy(key, "a", idem="call")
        repeated = desk.reservation(key, "a", idem="call")
        db = database.connect(path, busy_timeout_ms=1000)
        db.execute("BEGIN IMMEDIATE")
        hold = reserve.reserve(db, repeated, desk.clock.now_ms, 1000)
        db.execute("COMMIT")
        db.close()
        assert hold.charged_images == frozenset()
        desk.release(hold)
        assert desk.buy(key, "a", idem="call").charged == 0, "the release took the settled call along"

    def test_an_image_that_was_paid_meanwhile_is_a_replay(self, desk: Any, path: Path) -> None:
        key = desk.new_key(budget=1)
        desk.buy(key, "a")
        db = database.connect(path, busy_timeout_ms=1000)
        db.execute("BEGIN IMMEDIATE")
        hold = reserve.reserve(db, desk.reservation(key, "a"), desk.clock.now_ms, 1000)
        settlement = settle.settle(
            db, hold, dict.fromkeys(hold.reservation.images, "0" * 64), desk.clock.now_ms, recorded=True
        )
        db.execute("COMMIT")
        db.close()
        assert (settlement.charged, settlement.replayed, settlement.remaining) == (0, 1, 0)
        desk.run(verify_store(desk.ledger))


FULL_DISK = """
    import asyncio, json, resource, sys
    from pathlib import Path
    from teacher_service.access.keys import mint
    from teacher_service.metering.ledger import LedgerUnavailable, Reservation
    from teacher_service.metering.sqlite.store import SqliteLedger
    from teacher_service.metering.auditing.verify import verify_store

    async def story(path):
        ledger = SqliteLedger(path)
        await ledger.open()
        _, new = mint("a", 10)
        await ledger.create_key(new)

        def request(n):
            return Reservation(new.key_id, f"r{n}", "0" * 64, (f"{n:064x}",))

        def settle(hold):
            return ledger.settle(hold, dict.fromkeys(hold.reservation.images, "1" * 64))

        await settle(await ledger.reserve(request(1)))
        hold = await ledger.reserve(request(2))
        replay = await ledger.reserve(request(1))
        size = path.with_name(path.name + "-wal").stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        failures = []
        for work in (settle(hold), settle(replay), ledger.reserve(request(3)), ledger.ping()):
            try:
                await work
            except LedgerUnavailable as error:
                failures.append(type(error).__name__)
        held = (await ledger.key(new.key_id)).held
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        settled = await settle(hold)
        verified = await verify_store(ledger)
        await ledger.close()
        return {
            "while full": failures,
            "held while full": held,
            "settled afterwards": settled.charged,
            "verified": {"used": verified.used, "records": verified.records},
        }

    print(json.dumps(asyncio.run(story(Path(sys.argv[1])))))
"""
