"""Beside the requests: a long sweep keeps nothing else waiting, and one bad key keeps no other from it."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from redis_process import RedisProcess
from redis_replicas import account, new_key, replica, reserve, settle, until

from teacher_service.metering.ledger import LedgerUnavailable
from teacher_service.metering.redis import sweeping, upkeep
from teacher_service.metering.redis.pipeline import Pipeline
from teacher_service.metering.redis.store import RedisLedger

SHORT_MS = 1200


@pytest.fixture
def url(redis_server: RedisProcess) -> str:
    """An empty Redis."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


def test_leases_are_prolonged_and_watermarks_saved_while_a_sweep_goes_on(
    url: str, redis_server: RedisProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = tmp_path / "watermarks.sqlite"
    sweeps: list[None] = []

    async def endless(_: RedisLedger) -> None:
        sweeps.append(None)
        await asyncio.Event().wait()

    monkeypatch.setattr(RedisLedger, "sweep", endless)
    monkeypatch.setattr(upkeep, "SWEEP_EVERY_S", 0.01)

    async def story() -> None:
        async with replica(url, lease_ms=SHORT_MS, watermarks=marks) as ledger:
            key = await new_key(ledger)
            hold = await reserve(ledger, key, "a")

            async def outlived() -> bool:
                with redis_server.client() as client:
                    seconds, microseconds = client.time()
                return int(seconds) * 1000 + int(microseconds) // 1000 > hold.expires_at_ms + 100

            await until(outlived)
            assert sweeps == [None], "the sweep is still under way"
            assert (await settle(ledger, hold)).charged == 1

            async def saved() -> bool:
                with sqlite3.connect(marks) as db:
                    rows = db.execute("SELECT seq FROM seen WHERE key_id = ?", (key,)).fetchall()
                db.close()
                return rows == [(1,)]

            await until(saved)

    asyncio.run(story())


def test_a_sweep_asks_for_many_keys_in_one_exchange(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    exchange = Pipeline._exchange

    async def counted(self: Pipeline, group: list[Any]) -> None:
        sizes.append(len(group))
        await exchange(self, group)

    async def story() -> None:
        async with replica(url, serve=False) as ledger:
            for _ in range(70):
                await new_key(ledger)
            await ledger.sweep()  # now the server knows the script
            monkeypatch.setattr(Pipeline, "_exchange", counted)
            await ledger.sweep()

    asyncio.run(story())
    assert sizes == [sweeping.AT_ONCE, sweeping.AT_ONCE, 70 - 2 * sweeping.AT_ONCE]


def test_a_damaged_key_is_told_and_keeps_no_other_from_being_swept(
    url: str, redis_server: RedisProcess
) -> None:
    async def story() -> None:
        async with replica(url, lease_ms=1, serve=False) as ledger:
            keys = [await new_key(ledger) for _ in range(sweeping.AT_ONCE + 2)]
            for key in keys[1:]:
                await reserve(ledger, key, "a")
            with redis_server.client() as client:
                client.set(f"ration:{{{keys[0]}}}:leases", "rubbish")
            with pytest.raises(LedgerUnavailable, match="WRONGTYPE"):
                await ledger.sweep()
            assert [(await account(ledger, key)).held for key in keys[1:]] == [0] * (len(keys) - 1)

    asyncio.run(story())


def test_a_sweep_gives_up_where_the_store_is_gone(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def story() -> None:
        async with replica(url, serve=False) as ledger:
            for _ in range(2 * sweeping.AT_ONCE):
                await new_key(ledger)

            async def gone(script: str, *_: Any) -> None:
                asked.append(script)
                raise LedgerUnavailable("gone")

            monkeypatch.setattr(ledger._connection, "run", gone)
            with pytest.raises(LedgerUnavailable, match="gone"):
                await ledger.sweep()

    asyncio.run(story())
    assert asked == ["sweep"] * sweeping.AT_ONCE


def test_a_fault_of_one_turn_does_not_end_the_upkeep(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[None] = []

    async def faulty(_: RedisLedger) -> None:
        turns.append(None)
        raise KeyError("a fault of ours")

    monkeypatch.setattr(RedisLedger, "sweep", faulty)
    monkeypatch.setattr(upkeep, "SWEEP_EVERY_S", 0.01)

    async def story() -> None:
        async with replica(url):

            async def went_on() -> bool:
                return len(turns) > 2

            await until(went_on)

    asyncio.run(story())
