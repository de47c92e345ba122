"""Many operations share a commit: all durable, or none; and a refusal disturbs nobody else."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from teacher_service.metering.ledger import LedgerUnavailable
from teacher_service.metering.sqlite.group_commit import GroupCommitter

PATIENCE_S = 10


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, parent REFERENCES numbers)")
    db.close()
    return path


@pytest.fixture
def committer(file: Path) -> Iterator[GroupCommitter]:
    committer = GroupCommitter(connecting_to(file))
    committer.start()
    yield committer
    committer.stop()


def connecting_to(file: Path) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        db = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=0.05)
        db.execute("PRAGMA foreign_keys = ON")
        return db

    return connect


def insert(number: int, parent: int | None = None) -> Callable[[sqlite3.Connection], int]:
    def operation(db: sqlite3.Connection) -> int:
        db.execute("INSERT INTO numbers VALUES (?, ?)", (number, parent))
        return number

    return operation


def insert_then(error: Exception, number: int) -> Callable[[sqlite3.Connection], int]:
    def operation(db: sqlite3.Connection) -> int:
        insert(number)(db)
        raise error

    return operation


def stored(file: Path) -> set[int]:
    db = sqlite3.connect(file)
    numbers = {n for (n,) in db.execute("SELECT n FROM numbers")}
    db.close()
    return numbers


class Gate:
    """An operation that stands still in the writer's thread until told to go on."""

    def __init__(self) -> None:
        self.entered, self._open = threading.Event(), threading.Event()

    def __call__(self, db: sqlite3.Connection) -> None:
        self.entered.set()
        assert self._open.wait(PATIENCE_S)

    def open(self) -> None:
        self._open.set()


async def in_one_group(
    committer: GroupCommitter, *operations: Callable[[sqlite3.Connection], Any]
) -> list[Any]:
    """Hold the writer with one operation, queue the others, let go: they are committed together."""
    gate = Gate()
    held = committer.submit(gate)
    await asyncio.to_thread(gate.entered.wait, PATIENCE_S)
    waiting = [committer.submit(operation) for operation in operations]
    gate.open()
    await held
    return await asyncio.gather(*waiting, return_exceptions=True)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def test_results_come_back_to_whoever_asked(committer: GroupCommitter, file: Path) -> None:
    assert run(in_one_group(committer, *(insert(n) for n in range(50)))) == list(range(50))
    assert stored(file) == set(range(50))


@pytest.mark.parametrize(("max_group", "commits"), [(1, 7), (2, 4), (256, 2)])
def test_no_more_operations_than_allowed_share_a_commit(file: Path, max_group: int, commits: int) -> None:
    """Six that wait behind one: the first stands at the gate, alone in its group."""
    seen: list[str] = []

    def connect() -> sqlite3.Connection:
        db = connecting_to(file)()
        db.set_trace_callback(seen.append)
        return db

    committer = GroupCommitter(connect, max_group=max_group)
    committer.start()
    try:
        assert run(in_one_group(committer, *(insert(n) for n in range(6)))) == list(range(6))
    finally:
        committer.stop()
    assert seen.count("COMMIT") == commits


def test_a_refusal_rolls_back_its_own_changes_alone(committer: GroupCommitter, file: Path) -> None:
    refusal = ValueError("no")
    outcome = run(in_one_group(committer, insert(1), insert_then(refusal, 2), insert(3)))
    assert outcome == [1, refusal, 3]
    assert stored(file) == {1, 3}


def test_a_broken_constraint_refuses_that_operation_alone(committer: GroupCommitter, file: Path) -> None:
    first, second, third = run(in_one_group(committer, insert(1), insert(1), insert(3)))
    assert (first, third) == (1, 3)
    assert isinstance(second, LedgerUnavailable)
    assert stored(file) == {1, 3}


def test_a_store_that_fails_fails_the_whole_group_and_leaves_nothing(
    committer: GroupCommitter, file: Path
) -> None:
    failure = sqlite3.OperationalError("disk I/O error")
    outcome = run(in_one_group(committer, insert(1), insert_then(failure, 2), insert(3)))
    assert [type(each) for each in outcome] == [LedgerUnavailable] * 3
    assert "disk I/O error" in str(outcome[0])
    assert outcome[0] is not outcome[2], "one exception object must not be raised in two places"
    assert stored(file) == set()
    assert run(in_one_group(committer, insert(4))) == [4], "and it works again when the store does"


def test_a_commit_that_fails_fails_the_whole_group_and_leaves_nothing(
    committer: GroupCommitter, file: Path
) -> None:
    """Every operation had succeeded; only the commit itself is refused, by a deferred constraint."""

    def dangling(db: sqlite3.Connection) -> int:
        db.execute("PRAGMA defer_foreign_keys = ON")
        return insert(2, parent=99)(db)

    outcome = run(in_one_group(committer, insert(1), dangling))
    assert [type(each) for each in outcome] == [LedgerUnavailable] * 2
    assert stored(file) == set()
    assert run(in_one_group(committer, insert(3))) == [3]


def test_a_transaction_that_the_store_rolled_back_by_itself_is_noticed(
    committer: GroupCommitter, file: Path
) -> None:
    """As SQLite does when the disk fills up half-way."""

    def rolled_back(db: sqlite3.Connection) -> int:
        db.execute("ROLLBACK")
        raise ValueError("a refusal that comes too late")

    outcome = run(in_one_group(committer, insert(1), rolled_back, insert(3)))
    assert [type(each) for each in outcome] == [LedgerUnavailable] * 3
    assert stored(file) == set()


def test_nobody_hears_of_success_before_the_commit(committer: GroupCommitter, file: Path) -> None:
    """Invariant 2: delivered is a subset of settled."""

    async def story() -> None:
        first, gate = Gate(), Gate()
        held = committer.submit(first)
        await asyncio.to_thread(first.entered.wait, PATIENCE_S)
        early = committer.submit(insert(1))
        late = committer.submit(gate)
        first.open()
        await held
        await asyncio.to_thread(gate.entered.wait, PATIENCE_S)
        # The insert has run, in the same transaction as the operation that stands still now.
        await asyncio.sleep(0)
        assert not early.done()
        assert stored(file) == set()
        gate.open()
        assert await early == 1
        assert stored(file) == {1}
        await late

    run(story())


def test_a_locked_database_fails_the_group(committer: GroupCommitter, file: Path) -> None:
    blocker = sqlite3.connect(file, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    async def both() -> list[Any]:
        waiting = (committer.submit(insert(1)), committer.submit(insert(2)))
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(each) for each in run(both())] == [LedgerUnavailable] * 2
    blocker.execute("ROLLBACK")
    blocker.close()
    assert stored(file) == set()


def test_stopping_finishes_what_was_queued(committer: GroupCommitter, file: Path) -> None:
    async def story() -> list[int]:
        gate = Gate()
        held = committer.submit(gate)
        waiting = [committer.submit(insert(n)) for n in range(600)]  # more than one group
        stopped = asyncio.create_task(asyncio.to_thread(committer.stop))
        gate.open()
        await held
        await stopped
        return await asyncio.gather(*waiting)

    assert run(story()) == list(range(600))
    assert stored(file) == set(range(600))


def test_nothing_can_be_queued_after_the_end(committer: GroupCommitter) -> None:
    async def story() -> None:
        committer.stop()
        with pytest.raises(LedgerUnavailable, match="not open"):
            committer.submit(insert(1))

    run(story())


def test_the_result_of_a_cancelled_caller_is_handed_to_its_stand_in(
    committer: GroupCommitter, file: Path
) -> None:
    async def story() -> list[int]:
        abandoned: list[int] = []
        gate = Gate()
        held = committer.submit(gate)
        cancelled = committer.submit(insert(1), abandoned.append)
        refused = committer.submit(insert_then(ValueError("no"), 2), abandoned.append)
        kept = committer.submit(insert(3), abandoned.append)
        cancelled.cancel()
        refused.cancel()
        gate.open()
        await held
        await kept
        await committer.submit(insert(4))
        return abandoned

    assert run(story()) == [1]
    assert stored(file) == {1, 3, 4}


def test_a_stand_in_that_fails_keeps_no_result_from_the_others(committer: GroupCommitter, file: Path) -> None:
    def fail(_: int) -> None:
        raise LedgerUnavailable("closed meanwhile")

    async def story() -> tuple[list[int], list[BaseException]]:
        reported: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what["exception"]))
        gate = Gate()
        held = committer.submit(gate)
        await asyncio.to_thread(gate.entered.wait, PATIENCE_S)
        cancelled = committer.submit(insert(1), fail)
        others = [committer.submit(insert(n)) for n in (2, 3)]
        cancelled.cancel()
        gate.open()
        await held
        return await asyncio.wait_for(asyncio.gather(*others), PATIENCE_S), reported

    results, reported = run(story())
    assert results == [2, 3]
    assert [str(error) for error in reported] == ["closed meanwhile"]


def test_a_caller_whose_event_loop_is_gone_disturbs_nobody(committer: GroupCommitter, file: Path) -> None:
    async def leave() -> Gate:
        gate = Gate()
        committer.submit(gate)
        await asyncio.to_thread(gate.entered.wait, PATIENCE_S)
        committer.submit(insert(1))
        return gate

    gate = asyncio.run(leave())
    gate.open()
    assert run(in_one_group(committer, insert(2))) == [2]
    assert stored(file) == {1, 2}


def test_upkeep_runs_in_between_and_its_failure_harms_nothing(file: Path) -> None:
    runs: list[int] = []
    ran_twice = threading.Event()

    def upkeep(db: sqlite3.Connection) -> None:
        runs.append(1)
        db.execute("INSERT INTO numbers VALUES (?, NULL)", (1000 + len(runs),))
        if len(runs) == 1:
            raise sqlite3.OperationalError("disk I/O error")
        ran_twice.set()

    committer = GroupCommitter(connecting_to(file), upkeep, upkeep_s=0.01)
    committer.start()
    assert ran_twice.wait(PATIENCE_S)
    assert run(in_one_group(committer, insert(1))) == [1]
    committer.stop()
    assert 1 in stored(file)
    assert 1001 not in stored(file), "the failed run left nothing"
    assert 1002 in stored(file)


def test_a_first_operation_that_fails_opens_nothing(file: Path) -> None:
    committer = GroupCommitter(connecting_to(file))
    with pytest.raises(sqlite3.OperationalError):
        committer.start(first=lambda db: insert_then(sqlite3.OperationalError("full"), 1)(db) and None)
    committer.stop()
    assert stored(file) == set()


def test_a_job_that_meets_the_stop_is_finished_or_refused_but_never_forgotten(
    committer: GroupCommitter, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop begins at the worst moment: the job was let in, and is not in the queue yet."""
    jobs = committer._jobs
    stopping = threading.Thread(target=committer.stop)

    class Slow:
        get, get_nowait = jobs.get, jobs.get_nowait

        def put(self, job: Any) -> None:
            if job is not None:
                stopping.start()
                stopping.join(timeout=0.2)  # time enough for a stop that nothing holds back
            jobs.put(job)

    monkeypatch.setattr(committer, "_jobs", Slow())

    async def story() -> int:
        return await asyncio.wait_for(committer.submit(insert(1)), PATIENCE_S)

    assert asyncio.run(story()) == 1
    stopping.join(PATIENCE_S)
    assert stored(file) == {1}
