"""Moving a ledger to Redis and back: chains go on, API keys work, and a move that fails leaves nothing."""

import asyncio
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
import pytest
from redis_process import RedisProcess
from redis_replicas import account, buy, new_key, replica, replicas

from teacher_service.access.keys import authenticate, mint
from teacher_service.metering.archive import LedgerInvalid, LedgerNotEmpty
from teacher_service.metering.auditing.export_file import read_archive
from teacher_service.metering.auditing.exporting import export_ledger
from teacher_service.metering.auditing.verify import import_ledger, verify_store
from teacher_service.metering.ledger import KeyRevoked

DAY_MS = 86_400_000


def exported(desk: Any) -> list[bytes]:
    out = io.BytesIO()
    desk.run(export_ledger(desk.ledger, out))
    return out.getvalue().splitlines(keepends=True)


def imported(desk: Any, lines: Iterable[bytes]) -> Any:
    return desk.run(import_ledger(desk.ledger, lines))


def names_in(server: RedisProcess) -> set[bytes]:
    """Redis keys of the ledger; its name and the test's clock aside."""
    with server.client() as client:
        return {name for name in client.keys("*") if name not in (b"ration:store", b"test:now_ms")}


@pytest.fixture
def full(sqlite_desk: Any) -> Any:
    """A ledger with a past of several days, of every kind of key and event."""
    desk = sqlite_desk
    desk.texts = {}
    for name, billing, window in (
        ("distinct", "distinct", "total"),
        ("each", "every-call", "total"),
        ("daily", "distinct", "day"),
        ("hourly", "every-call", "hour"),
        ("revoked", "distinct", "total"),
        ("idle", "distinct", "day"),
    ):
        text, new = mint(name, 6, "600/minute", billing, window)
        desk.run(desk.ledger.create_key(new))
        desk.texts[new.key_id] = text
        desk.clock.now_ms += 1
    distinct, each, daily, hourly, revoked, _ = desk.texts
    for day in range(3):
        for key in (distinct, each, daily, hourly, revoked):
            desk.buy(key, "same", f"{day}")
        desk.buy(distinct, "same", revision="retrained" if day else "teacher")
        desk.clock.now_ms += DAY_MS
    desk.buy(daily, "today", "and now")
    desk.run(desk.ledger.grant(distinct, 4))
    desk.run(desk.ledger.revoke(revoked))
    desk.reserve(distinct, "held", idem="a hold is not moved")
    return desk


@pytest.fixture
def target(make_redis_desk: Callable[..., Any], full: Any) -> Any:
    """An empty Redis at the same time of day."""
    return make_redis_desk(full.clock)


class TestMoving:
    def test_everything_that_counts_arrives_and_comes_back(
        self, full: Any, target: Any, make_desk: Callable[..., Any], tmp_path: Any
    ) -> None:
        lines = exported(full)
        verified = imported(target, lines)
        assert verified == full.run(verify_store(full.ledger))
        assert exported(target) == lines
        back = make_desk(tmp_path / "back.sqlite", full.clock)
        assert imported(back, exported(target)) == verified
        assert exported(back) == lines

    def test_accounts_heads_days_and_secrets_are_the_same(self, full: Any, target: Any) -> None:
        imported(target, exported(full))
        order = [key.key_id for key in target.run(target.ledger.keys())]
        assert order == [key.key_id for key in full.run(full.ledger.keys())], "oldest first"
        for key, text in full.texts.items():
            old, new = full.account(key), target.account(key)
            held = old.held
            assert {name: getattr(new, name) for name in old.__slots__} == {
                **{name: getattr(old, name) for name in old.__slots__}, "held": 0,
            }, f"{held} held by a process that stayed behind"  # fmt: skip
            for ask in ("head", "usage_by_day"):
                assert target.run(getattr(target.ledger, ask)(key)) == full.run(
                    getattr(full.ledger, ask)(key)
                )
            asking = authenticate(target.ledger, f"Bearer {text}", may_be_revoked=True)
            assert target.run(asking).key_id == key

    def test_chains_and_budgets_go_on_where_they_stood(self, full: Any, target: Any) -> None:
        imported(target, exported(full))
        distinct, each, daily, hourly, revoked, idle = full.texts
        assert target.buy(distinct, "same", "held").charged == 1
        assert target.buy(distinct, "same", revision="retrained").charged == 0
        with pytest.raises(Exception, match="Budget exhausted"):
            target.reserve(each, "one too many")
        assert target.buy(daily, "today", "tomorrow").remaining == 3
        assert target.buy(hourly, "0", "1").remaining == 4
        assert target.buy(idle, "first").seq == 1
        with pytest.raises(KeyRevoked):
            target.reserve(revoked, "more")
        target.run(target.ledger.grant(each, 1))
        target.run(verify_store(target.ledger))


class TestFailing:
    def test_a_store_that_has_a_key_is_not_imported_into(
        self, full: Any, target: Any, redis_server: RedisProcess
    ) -> None:
        key = target.new_key()
        before = names_in(redis_server)
        with pytest.raises(LedgerNotEmpty, match="empty one"):
            imported(target, exported(full))
        assert names_in(redis_server) == before
        assert [found.key_id for found in target.run(target.ledger.keys())] == [key]

    @pytest.mark.parametrize("place", ["in the middle", "at the end"])
    def test_an_export_that_does_not_hold_leaves_nothing(
        self, full: Any, target: Any, redis_server: RedisProcess, place: str
    ) -> None:
        lines = exported(full)
        records = [at for at, line in enumerate(lines) if orjson.loads(line)["kind"] == "record"]
        at = records[len(records) // 2 if place == "in the middle" else -1]
        bad = [*lines]
        bad[at] = bad[at].replace(b'"hash":"', b'"hash":"0', 1)
        assert bad != lines
        for broken in (bad, lines[:-1]):
            with pytest.raises(LedgerInvalid):
                imported(target, broken)
            assert names_in(redis_server) == set()
        imported(target, lines)

    def test_a_file_that_cannot_be_read_to_its_end_is_told_as_such_and_leaves_nothing(
        self, full: Any, target: Any, redis_server: RedisProcess
    ) -> None:
        lines = exported(full)

        def failing() -> Iterator[bytes]:
            yield from lines[:3]
            raise OSError(5, "Input/output error")

        with pytest.raises(OSError, match="Input/output error"):
            imported(target, failing())
        assert target.run(target.ledger.keys()) == []
        assert not any(name.startswith(b"ration-import") for name in names_in(redis_server))

    def test_what_a_killed_import_left_is_removed_by_the_next(
        self, full: Any, target: Any, redis_server: RedisProcess
    ) -> None:
        with redis_server.client() as client:
            client.xadd("ration-import:{left}:events", {"record": "x"}, id="1-0")
            client.hset("ration-import:{left}:account", "budget", 7)
            key = next(iter(full.texts))
            client.xadd(f"ration-import:{{{key}}}:events", {"record": "x"}, id="1-700")
        assert target.run(target.ledger.keys()) == [], "no request looks at it"
        imported(target, exported(full))
        assert not [name for name in names_in(redis_server) if name.startswith(b"ration-import")]
        assert b"ration:{left}:account" not in names_in(redis_server)

    def test_a_redis_that_goes_away_in_the_middle_holds_nothing_afterwards(
        self, full: Any, start_redis: Callable[..., RedisProcess]
    ) -> None:
        lines = exported(full)
        server = start_redis()

        def cut_off() -> Iterator[bytes]:
            yield from lines[: len(lines) // 2]
            server.kill()
            yield from lines[len(lines) // 2 :]

        async def story() -> None:
            async with replica(server.url) as ledger:
                with pytest.raises(Exception, match="cannot be reached"):
                    await ledger.restore(read_archive(cut_off()))
                server.start()
                assert await ledger.keys() == []
                assert (await import_ledger(ledger, lines)).used > 0

        asyncio.run(story())
        server.stop()

    def test_a_key_that_is_made_meanwhile_is_not_overwritten(
        self, full: Any, redis_server: RedisProcess
    ) -> None:
        lines = exported(full)
        with redis_server.client() as client:
            client.flushall()

        async def story() -> None:
            async with replicas(redis_server.url, 2) as (one, other):
                importing = asyncio.create_task(one.restore(read_archive(lines)))
                key = await new_key(other)
                with pytest.raises(LedgerNotEmpty):
                    await importing
                assert [found.key_id for found in await one.keys()] == [key]
                assert (await buy(one, key, "a")).charged == 1
                await verify_store(one)

        asyncio.run(story())
        assert not [name for name in names_in(redis_server) if name.startswith(b"ration-import")]

    def test_two_imports_at_once_make_one_ledger_or_none(
        self, make_desk: Callable[..., Any], tmp_path: Any, redis_server: RedisProcess
    ) -> None:
        """Of two different ledgers; whichever stays is whole."""
        exports = []
        for name in ("one", "other"):
            desk = make_desk(tmp_path / f"{name}.sqlite")
            for number in range(3):
                key = desk.new_key(budget=100)
                for image in range(8):
                    desk.buy(key, f"{number} {image}")
            exports.append(exported(desk))

        async def story(head_start: int) -> None:
            async with replicas(redis_server.url, 2) as ledgers:
                imports = []
                for ledger, lines in zip(ledgers, exports, strict=True):
                    imports.append(asyncio.create_task(ledger.restore(read_archive(lines))))
                    for _ in range(head_start):
                        await asyncio.sleep(0)
                await asyncio.gather(*imports, return_exceptions=True)
                await verify_store(ledgers[0])
                found = {key.key_id for key in await ledgers[0].keys()}
                wholes = [
                    {line["key_id"] for line in map(orjson.loads, lines) if line["kind"] == "key"}
                    for lines in exports
                ]
                assert found in (set(), *wholes)
                for key in found:
                    assert (await account(ledgers[1], key)).used == 8

        for head_start in range(0, 120, 4):
            with redis_server.client() as client:
                client.flushall()
            asyncio.run(story(head_start))
            assert not [name for name in names_in(redis_server) if name.startswith(b"ration-import")]
