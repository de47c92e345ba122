"""Real processes, really killed: what was acknowledged is on the disk, and budgets hold between processes."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.ledger import BudgetExhausted

KILLS = 15

WRITER = """
    import asyncio, os, sys
    from pathlib import Path
    from teacher_service.metering.ledger import Reservation
    from teacher_service.metering.sqlite.store import SqliteLedger

    async def buy_forever(ledger, key_id, life, lane):
        for n in range(10**9):
            image = f"{life:08x}{lane:08x}{n:048x}"
            request_id = f"{life}-{lane}-{n}"
            hold = await ledger.reserve(Reservation(key_id, request_id, "0" * 64, (image,)))
            if n % 5 == 4:
                continue  # an answer that never came: its hold stays
            await ledger.settle(hold, {image: "1" * 64})
            os.write(1, f"{request_id}\\n".encode())  # acknowledged: the descriptor could leave now

    async def live(path, key_id, life):
        ledger = SqliteLedger(path)
        await ledger.open()
        await asyncio.gather(*(buy_forever(ledger, key_id, life, lane) for lane in range(6)))

    # Imported once; each line begins a life in a process of its own, whose end is a kill -9.
    for line in sys.stdin:
        if os.fork() == 0:
            os.write(1, f"pid {os.getpid()}\\n".encode())
            asyncio.run(live(Path(sys.argv[1]), sys.argv[2], int(line)))
        os.wait()
        os.write(1, b"dead\\n")
"""

SPENDER = """
    import asyncio, json, sys
    from pathlib import Path
    from teacher_service.metering.ledger import BudgetExhausted, InFlight, Reservation
    from teacher_service.metering.sqlite.store import SqliteLedger

    async def spend(ledger, key_id, who, task):
        charged = 0
        for n in range(10**9):
            mine, everybodys = f"a{who:07x}{task:08x}{n:048x}", f"b{n % 7:063x}"
            images = (mine, everybodys)[: 1 + n % 2]
            try:
                hold = await ledger.reserve(Reservation(key_id, f"{who}-{task}-{n}", "0" * 64, images))
            except InFlight:
                continue
            except BudgetExhausted as error:
                if error.needed > 1:
                    continue
                return charged
            if n % 6 == 5:
                await ledger.release(hold)
                continue
            charged += (await ledger.settle(hold, dict.fromkeys(images, "1" * 64))).charged

    async def main(path, key_id, who):
        ledger = SqliteLedger(path, serve=False, busy_timeout_ms=60_000)
        await ledger.open()
        print("ready", flush=True)
        sys.stdin.readline()
        spent = await asyncio.gather(*(spend(ledger, key_id, who, task) for task in range(8)))
        await ledger.close()
        return sum(spent)

    print(json.dumps(asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))))
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``start(script, *arguments)`` runs Python; whatever still lives in the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def send(stream: IO[str] | None, line: str) -> None:
    assert stream is not None
    stream.write(line + "\n")
    stream.flush()


def one_life(writer: subprocess.Popen[str], life: int, acknowledgements: int) -> list[str]:
    """Begin a life, kill it after some acknowledgements, and return all that it had made."""
    assert writer.stdout is not None
    send(writer.stdin, str(life))
    pid = int(writer.stdout.readline().split()[1])
    acknowledged = [writer.stdout.readline().strip() for _ in range(acknowledgements)]
    os.kill(pid, signal.SIGKILL)
    for line in writer.stdout:
        if line == "dead\n":
            break
        acknowledged.append(line.strip())
    return acknowledged


def test_kill_9_at_any_moment_loses_no_acknowledged_charge(
    make_desk: Callable[..., Any], path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Invariants 2, 3 and 4: and the next server begins at once, without the holds of the dead one."""
    moments = random.Random(20)
    first = make_desk(path)
    key = first.new_key(budget=1_000_000)
    first.close()
    writer = start(WRITER, path, key)
    acknowledged: set[str] = set()
    for life in range(KILLS):
        acknowledged |= set(one_life(writer, life, moments.randint(0, 60)))
        desk = make_desk(path)
        assert desk.account(key).held == 0
        (account,) = desk.run(verify_store(desk.ledger)).accounts
        settled = settled_requests(desk, key)
        assert acknowledged <= settled, "an answer left before its charge was durable"
        # What is charged but was not acknowledged is at most what was in flight: one for each lane.
        assert len(settled - acknowledged) <= 6 * (life + 1)
        assert account.used == len(settled)
        desk.close()
    assert len(acknowledged) > KILLS


def settled_requests(desk: Any, key: str) -> set[str]:
    requests, after = set(), 0
    while page := desk.run(desk.ledger.links(key, after=after)):
        requests |= {entry.record["request_id"] for entry in page}
        after += len(page)
    return requests


def test_processes_that_share_a_budget_spend_exactly_the_budget(
    make_desk: Callable[..., Any], path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Invariant 1, for any number of concurrent processes."""
    budget = 1501
    desk = make_desk(path, busy_timeout_ms=60_000)
    key = desk.new_key(budget=budget)
    spenders = [start(SPENDER, path, key, who) for who in range(2)]
    for spender in spenders:  # both are up before either begins
        assert spender.stdout is not None
        assert spender.stdout.readline() == "ready\n"
    for spender in spenders:
        send(spender.stdin, "go")
    spent = [json.loads(spender.communicate(timeout=120)[0]) for spender in spenders]
    assert sum(spent) == desk.account(key).used
    desk.run(verify_store(desk.ledger))
    # A release can make room after the last refusal; nothing but that room may be left.
    while desk.account(key).remaining:
        desk.buy(key, f"rest {desk.account(key).remaining}")
    assert desk.account(key).used == budget
    with pytest.raises(BudgetExhausted):
        desk.reserve(key, "one more")
    desk.run(verify_store(desk.ledger))


def test_no_write_waits_in_the_event_loop(make_desk: Callable[..., Any], path: Path) -> None:
    """While a write waits for a lock for a second, the loop goes on and reads go on."""
    import sqlite3

    desk = make_desk(path, busy_timeout_ms=1000)
    key = desk.new_key()
    desk.buy(key, "paid")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    async def story() -> int:
        writing = asyncio.ensure_future(desk.ledger.reserve(desk.reservation(key, "new")))
        reads = 0
        while not writing.done():
            await desk.ledger.key(key)
            await desk.ledger.reserve(desk.reservation(key, "paid"))
            await asyncio.sleep(0)
            reads += 1
            if reads == 100:
                blocker.execute("ROLLBACK")
        await writing
        return reads

    assert desk.run(story()) >= 100
    blocker.close()
