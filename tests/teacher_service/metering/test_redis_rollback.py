"""Invariant 6 on Redis: a store that lost what was seen of it is refused, by whoever has seen more."""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis_process import RedisProcess
from redis_replicas import account, buy, new_key, replica, replicas, reserve, settle, until

from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.ledger import Ledger, LedgerUnavailable
from teacher_service.metering.watermarks import Watermarks


@pytest.fixture
def redis(start_redis: Callable[..., RedisProcess]) -> Iterator[RedisProcess]:
    """A server of this test's own, whose files are exchanged."""
    server = start_redis()
    yield server
    server.stop()


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    return tmp_path / "watermarks.sqlite"


class Snapshots:
    """Copies of a server's files; to take one or put one back the server is stopped and started.

    Meanwhile the replicas go on, and see their connections closed.
    """

    def __init__(self, server: RedisProcess, folder: Path) -> None:
        self._server, self._folder = server, folder

    async def take(self, name: str) -> None:
        await self._while_stopped(lambda: shutil.copytree(self._server.folder, self._folder / name))

    async def put_back(self, name: str) -> None:
        await self.empty(lambda: shutil.copytree(self._folder / name, self._server.folder))

    async def empty(self, then: Callable[[], object] = int) -> None:
        await self._while_stopped(lambda: shutil.rmtree(self._server.folder), then)

    async def _while_stopped(self, *steps: Callable[[], object]) -> None:
        for step in (self._server.stop, *steps, self._server.start):
            await asyncio.to_thread(step)


@pytest.fixture
def snapshots(redis: RedisProcess, tmp_path: Path) -> Snapshots:
    return Snapshots(redis, tmp_path / "snapshots")


async def key_newer_than(snapshots: Snapshots, ledger: Ledger) -> str:
    """A key that the snapshot ``old`` has, without the record of what it then bought."""
    key = await new_key(ledger)
    await snapshots.take("old")
    await buy(ledger, key, "a")
    return key


async def refused(work: Awaitable[Any], *words: str) -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        await work
    assert all(word in str(caught.value) for word in words), caught.value


async def opened(url: str, marks: Path | None) -> None:
    async with replica(url, watermarks=marks, serve=False):
        pass


class TestRunningReplicas:
    @pytest.mark.parametrize("first_asked", ["the same key", "another key", "a new key", "nothing but ping"])
    def test_an_older_snapshot_is_refused_whatever_is_asked_first(
        self, redis: RedisProcess, snapshots: Snapshots, first_asked: str
    ) -> None:
        async def story() -> None:
            async with replica(redis.url) as ledger:
                key, other = await new_key(ledger), await new_key(ledger)
                await snapshots.take("old")
                await buy(ledger, key, "a")
                await snapshots.put_back("old")
                works: dict[str, Callable[[], Awaitable[Any]]] = {
                    "the same key": lambda: reserve(ledger, key, "b"),
                    "another key": lambda: reserve(ledger, other, "b"),
                    "a new key": lambda: new_key(ledger),
                    "nothing but ping": ledger.ping,
                }
                await refused(works[first_asked](), f"record 1 of key {key}", "Nothing is served")
                for work in (reserve(ledger, other, "c"), ledger.key(key), ledger.links(key), ledger.keys()):
                    await refused(work, "rolled back")
            with redis.client() as client:
                assert client.zcard("ration:keys") == 2
                assert client.hget(f"ration:{{{other}}}:account", "held") == b"0"

        asyncio.run(story())

    def test_an_older_snapshot_that_went_on_differently_is_refused(
        self, redis: RedisProcess, snapshots: Snapshots
    ) -> None:
        """A fork: the chain is longer than what was seen, and its records are others."""

        async def story() -> None:
            async with replica(redis.url) as ledger:
                key = await key_newer_than(snapshots, ledger)
                await snapshots.put_back("old")
                async with replica(redis.url) as stranger:  # has seen nothing of what is lost
                    for image in ("b", "c", "d"):
                        await buy(stranger, key, image)
                await refused(reserve(ledger, key, "e"), f"record 1 of key {key}")

        asyncio.run(story())

    def test_a_replica_that_saw_nothing_newer_learns_it_from_the_file_it_shares(
        self, redis: RedisProcess, snapshots: Snapshots, marks: Path
    ) -> None:
        async def story() -> None:
            async with replica(redis.url, watermarks=marks) as idle:
                async with replica(redis.url, watermarks=marks) as busy:
                    key = await new_key(busy)
                    await reserve(idle, key, "seen by both")
                    await snapshots.take("old")
                    await buy(busy, key, "a")
                await snapshots.put_back("old")
                await refused(reserve(idle, key, "b"), f"record 1 of key {key}")

        asyncio.run(story())

    def test_a_restarted_server_with_its_own_files_is_served_from(
        self, redis: RedisProcess, snapshots: Snapshots
    ) -> None:
        async def story() -> None:
            async with replica(redis.url) as ledger:
                key = await new_key(ledger)
                await buy(ledger, key, "a")
                await snapshots.take("same")
                assert (await buy(ledger, key, "b")).used_after == 2

        asyncio.run(story())

    def test_a_store_emptied_under_a_running_replica_is_refused(self, redis: RedisProcess) -> None:
        """The server's process is the same: each operation holds its own key against what was seen."""

        async def story() -> None:
            for ask in (
                lambda ledger, key: reserve(ledger, key, "b"),
                lambda ledger, key: ledger.key(key),
                lambda ledger, key: ledger.head(key),
                lambda ledger, key: ledger.grant(key, 1),
                lambda ledger, key: ledger.revoke(key),
            ):
                async with replica(redis.url) as ledger:
                    key = await new_key(ledger)
                    with redis.client() as client:
                        client.flushall()
                    await refused(ask(ledger, key), f"record 0 of key {key}")
                    await refused(ledger.ping(), "rolled back")

        asyncio.run(story())

    def test_a_settlement_is_not_made_on_a_store_that_lost_the_chain_s_end(self, redis: RedisProcess) -> None:
        async def story() -> None:
            async with replica(redis.url) as ledger:
                key = await new_key(ledger)
                hold = await reserve(ledger, key, "a")
                await buy(ledger, key, "b")
                account_key = f"ration:{{{key}}}:account"
                with redis.client() as client:
                    client.hset(account_key, mapping={"seq": 0, "head": "0" * 64, "used": 0})
                    descriptors = {image: image for image in hold.reservation.images}
                    await refused(ledger.settle(hold, descriptors), f"record 1 of key {key}")
                    assert client.hget(account_key, "used") == b"0"
                    assert client.xlen(f"ration:{{{key}}}:events") == 2

        asyncio.run(story())

    @pytest.mark.parametrize("asked", ["reserve", "settle", "head", "grant"])
    def test_a_key_set_back_and_gone_on_differently_under_a_running_replica_is_refused(
        self, redis: RedisProcess, asked: str
    ) -> None:
        """The fork is longer than what was seen, and the server's process is the same."""

        async def story() -> None:
            async with replica(redis.url) as ledger:
                key = await new_key(ledger)
                hold = await reserve(ledger, key, "held")
                with redis.client() as client:
                    names = client.keys(f"ration:{{{key}}}:*")
                    old = {name: client.dump(name) for name in names}
                    await buy(ledger, key, "a")
                    client.delete(*client.keys(f"ration:{{{key}}}:*"))
                    for name, value in old.items():
                        assert value is not None
                        client.restore(name, 0, value)
                async with replica(redis.url) as stranger:
                    for image in ("b", "c"):
                        await buy(stranger, key, image)
                    ask = {
                        "reserve": lambda: reserve(ledger, key, "d"),
                        "settle": lambda: settle(ledger, hold),
                        "head": lambda: ledger.head(key),
                        "grant": lambda: ledger.grant(key, 1),
                    }
                    await refused(ask[asked](), f"record 1 of key {key}")
                    assert (await account(stranger, key)).used == 2

        asyncio.run(story())

    def test_the_same_length_with_another_head_is_refused(self, redis: RedisProcess) -> None:
        async def story() -> None:
            for ask in (
                lambda ledger, key: reserve(ledger, key, "b"),
                lambda ledger, key: ledger.key(key),
                lambda ledger, key: ledger.head(key),
            ):
                async with replica(redis.url) as ledger:
                    key = await new_key(ledger)
                    with redis.client() as client:
                        client.hset(f"ration:{{{key}}}:account", "head", "0" * 64)
                    await refused(ask(ledger, key), f"record 0 of key {key}")

        asyncio.run(story())


class TestRestartedReplicas:
    def test_a_replica_that_was_closed_and_opened_again_refuses_an_older_snapshot(
        self, redis: RedisProcess, snapshots: Snapshots, marks: Path
    ) -> None:
        async def story() -> None:
            async with replica(redis.url, watermarks=marks) as ledger:
                key = await new_key(ledger)
            await snapshots.take("old")
            async with replica(redis.url, watermarks=marks) as ledger:
                await buy(ledger, key, "a")
            await snapshots.take("new")
            await snapshots.put_back("old")
            await refused(opened(redis.url, marks), f"record 1 of key {key}", str(marks))
            await snapshots.put_back("new")
            async with replica(redis.url, watermarks=marks) as ledger:
                assert (await buy(ledger, key, "b")).used_after == 2

        asyncio.run(story())

    def test_the_way_out_is_to_remove_the_file_and_it_says_so(
        self, redis: RedisProcess, snapshots: Snapshots, marks: Path
    ) -> None:
        async def story() -> None:
            async with replica(redis.url, watermarks=marks) as ledger:
                key = await key_newer_than(snapshots, ledger)
            await snapshots.put_back("old")
            await refused(opened(redis.url, marks), f"remove {marks}")
            marks.unlink()
            async with replica(redis.url, watermarks=marks) as ledger:
                assert (await buy(ledger, key, "a")).used_after == 1
                await verify_store(ledger)
            await opened(redis.url, marks)

        asyncio.run(story())

    def test_a_fork_that_has_outgrown_the_watermark_is_refused(
        self, redis: RedisProcess, snapshots: Snapshots, marks: Path
    ) -> None:
        async def story() -> None:
            async with replica(redis.url, watermarks=marks) as ledger:
                key = await key_newer_than(snapshots, ledger)
            await snapshots.put_back("old")
            async with replica(redis.url) as stranger:
                for image in ("b", "c", "d"):
                    await buy(stranger, key, image)
            await refused(opened(redis.url, marks), f"record 1 of key {key}")

        asyncio.run(story())

    def test_an_emptied_redis_is_another_store(
        self, redis: RedisProcess, snapshots: Snapshots, marks: Path
    ) -> None:
        """Even if no record of it was seen: its name is."""

        async def story() -> None:
            await opened(redis.url, marks)
            await snapshots.empty()
            await refused(opened(redis.url, marks), "emptied, moved or replaced", f"remove {marks}")
            await refused(opened(redis.url, marks), "emptied, moved or replaced")
            marks.unlink()
            await opened(redis.url, marks)

        asyncio.run(story())

    def test_marks_are_saved_while_it_runs_so_that_a_kill_loses_about_a_second(
        self, redis: RedisProcess, snapshots: Snapshots, marks: Path
    ) -> None:
        async def story() -> None:
            async with replica(redis.url, watermarks=marks) as ledger:
                key = await key_newer_than(snapshots, ledger)

                async def saved() -> bool:
                    return seen_in(marks).get(key, -1) == 1

                await until(saved)  # from here on, this replica may be killed
                await snapshots.put_back("old")
                await refused(opened(redis.url, marks), f"record 1 of key {key}")

        asyncio.run(story())

    def test_replicas_may_share_the_file(self, redis: RedisProcess, marks: Path) -> None:
        async def story() -> None:
            async with replicas(redis.url, 2, watermarks=marks) as (one, other):
                key = await new_key(one)
                for ledger in (one, other, other, one):
                    await buy(ledger, key, f"{(await account(ledger, key)).used}")
                second = await new_key(other)
            assert seen_in(marks) == {key: 4, second: 0}
            await opened(redis.url, marks)

        asyncio.run(story())

    def test_a_file_that_cannot_be_used_is_refused_at_the_start(
        self, redis: RedisProcess, tmp_path: Path
    ) -> None:
        damaged, folder = tmp_path / "damaged", tmp_path / "folder"
        damaged.write_bytes(b"no database" * 100)
        folder.mkdir()
        for file in (damaged, folder, damaged / "below a file"):
            with pytest.raises(LedgerUnavailable, match=f"watermarks in {file} cannot be used"):
                asyncio.run(opened(redis.url, file))

    def test_a_file_that_cannot_be_written_while_serving_fails_no_request(
        self, redis: RedisProcess, marks: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What was seen stays in memory; the operator is told, and the next turn tries again."""

        async def story() -> None:
            async with replica(redis.url, watermarks=marks) as ledger:
                key = await new_key(ledger)
                marks.unlink()
                marks.mkdir()
                await buy(ledger, key, "a")

                async def told() -> bool:
                    return "watermarks_not_saved" in caplog.messages

                await until(told)
                assert (await buy(ledger, key, "b")).used_after == 2
                marks.rmdir()

        asyncio.run(story())
        assert [*seen_in(marks).values()] == [2], "closing saved it"


def seen_in(marks: Path) -> dict[str, int]:
    watermarks = Watermarks(marks)
    watermarks.load(epoch_in(marks))
    return {key: mark.seq for key, mark in watermarks.all().items()}


def epoch_in(marks: Path) -> str:
    db = sqlite3.connect(marks)
    try:
        ((epoch,),) = db.execute("SELECT epoch FROM store").fetchall()
    except ValueError:
        epoch = ""
    finally:
        db.close()
    return str(epoch)


def test_a_ledger_without_a_file_forgets_with_its_process(redis: RedisProcess, snapshots: Snapshots) -> None:
    """The guard then lasts as long as the process: the message says to restart all replicas."""

    async def story() -> None:
        async with replica(redis.url) as ledger:
            key = await key_newer_than(snapshots, ledger)
            await snapshots.put_back("old")
            await refused(reserve(ledger, key, "b"), "restart all replicas")
        async with replica(redis.url) as ledger:
            assert (await account(ledger, key)).used == 0

    asyncio.run(story())
