"""Invariant 6 on SQLite: a file that lost what was seen of it is refused, by servers and commands."""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis_replicas import buy, new_key, reserve, until

from teacher_service.metering.archive import Archive
from teacher_service.metering.auditing.verify import verify_store
from teacher_service.metering.sqlite.store import SqliteLedger
from teacher_service.metering.stores import open_ledger
from teacher_service.metering.watermarks import StoreRolledBack, Watermarks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def marks_in(folder: Path) -> Path:
    return folder / "watermarks.sqlite"


async def with_ledger(
    folder: Path, work: Callable[[Archive], Awaitable[Any]], *, serve: bool = True, name: str = "ledger"
) -> Any:
    """One life of a process with the ledger."""
    ledger = open_ledger(f"sqlite:///{folder}/{name}.sqlite", serve=serve, watermarks=marks_in(folder))
    try:
        await ledger.open()
        return await work(ledger)
    finally:
        await ledger.close()


async def nothing(_: Archive) -> None:
    pass


def copy_of(folder: Path) -> Path:
    """The database at rest: a closed one has no log beside it."""
    assert not (folder / "ledger.sqlite-wal").exists()
    return Path(shutil.copy(folder / "ledger.sqlite", folder.parent / "older.sqlite"))


def story(work: Awaitable[None]) -> None:
    async def told() -> None:
        await work

    asyncio.run(told())


async def sold_after_a_copy(folder: Path) -> tuple[str, Path]:
    """A key whose last sale is missing from a copy of the ledger, which is put back."""
    key = await with_ledger(folder, lambda ledger: new_key(ledger, 4))
    await with_ledger(folder, lambda ledger: buy(ledger, key, "a"))
    older = copy_of(folder)
    await with_ledger(folder, lambda ledger: buy(ledger, key, "b", "c", "d"))
    newest = folder.parent / "newest.sqlite"
    shutil.copy(folder / "ledger.sqlite", newest)
    shutil.copy(older, folder / "ledger.sqlite")
    return key, newest


@pytest.mark.parametrize("serve", [True, False])
def test_an_older_copy_is_refused_by_servers_and_commands_and_the_newest_is_served(
    folder: Path, serve: bool
) -> None:
    async def told() -> None:
        key, newest = await sold_after_a_copy(folder)
        before = (folder / "ledger.sqlite").read_bytes()
        with pytest.raises(StoreRolledBack) as refused:
            await with_ledger(folder, nothing, serve=serve)
        for words in (f"record 2 of key {key}", "Nothing is served", f"remove {marks_in(folder)}"):
            assert words in str(refused.value)
        assert (folder / "ledger.sqlite").read_bytes() == before, "a refused file is left as it was"
        shutil.copy(newest, folder / "ledger.sqlite")
        assert (await with_ledger(folder, verify_store, serve=serve)).used == 4

    story(told())


def test_an_older_copy_that_went_on_differently_is_refused(folder: Path) -> None:
    """A fork that is longer than what was seen."""

    async def told() -> None:
        key, _ = await sold_after_a_copy(folder)
        stranger = SqliteLedger(folder / "ledger.sqlite")  # remembers nothing
        await stranger.open()
        for image in ("e", "f", "g"):
            await buy(stranger, key, image)
        await stranger.close()
        with pytest.raises(StoreRolledBack, match=f"record 2 of key {key}"):
            await with_ledger(folder, nothing)

    story(told())


def test_who_accepts_the_loss_removes_the_file(folder: Path) -> None:
    async def told() -> None:
        key, _ = await sold_after_a_copy(folder)
        marks_in(folder).unlink()
        assert (await with_ledger(folder, lambda ledger: buy(ledger, key, "e"))).used_after == 2
        await with_ledger(folder, verify_store)

    story(told())


@pytest.mark.parametrize("change", ["grant", "revoke", "a new key", "a replay", "a head that was told"])
def test_every_kind_of_record_is_remembered(folder: Path, change: str) -> None:
    async def told() -> None:
        key = await with_ledger(folder, new_key)
        await with_ledger(folder, lambda ledger: buy(ledger, key, "a"))
        older = copy_of(folder)
        works: dict[str, Callable[[Archive], Awaitable[Any]]] = {
            "grant": lambda ledger: ledger.grant(key, 1),
            "revoke": lambda ledger: ledger.revoke(key),
            "a new key": new_key,
            "a replay": lambda ledger: buy(ledger, key, "a"),
            "a head that was told": lambda ledger: ledger.head(key),
        }
        if change == "a head that was told":
            beside = SqliteLedger(folder / "ledger.sqlite", serve=False)  # knows no file of watermarks
            await beside.open()
            await beside.grant(key, 1)
            await beside.close()
        await with_ledger(folder, works[change])
        shutil.copy(older, folder / "ledger.sqlite")
        with pytest.raises(StoreRolledBack, match="was seen and is gone"):
            await with_ledger(folder, nothing)

    story(told())


def test_what_a_command_changed_beside_the_server_is_remembered(folder: Path) -> None:
    """A revocation that an older copy would undo."""

    async def told() -> None:
        key = await with_ledger(folder, new_key)
        older = copy_of(folder)
        await with_ledger(folder, lambda ledger: ledger.revoke(key), serve=False)
        shutil.copy(older, folder / "ledger.sqlite")
        with pytest.raises(StoreRolledBack, match=f"record 1 of key {key}"):
            await with_ledger(folder, nothing, serve=False)

    story(told())


def test_what_was_seen_is_saved_while_serving(folder: Path) -> None:
    """A killed server has remembered all but its last second."""

    async def told() -> None:
        async def look(ledger: Archive) -> None:
            key = await new_key(ledger)
            await buy(ledger, key, "a")

            async def saved() -> bool:
                with sqlite3.connect(marks_in(folder)) as db:
                    rows = db.execute("SELECT seq FROM seen WHERE key_id = ?", (key,)).fetchall()
                db.close()
                return rows == [(1,)]

            await until(saved)

        await with_ledger(folder, look)

    story(told())


@pytest.mark.parametrize("name", ["ledger", "another"])
def test_a_new_file_beside_an_old_memory_is_refused_and_not_made(folder: Path, name: str) -> None:
    """Emptied, or another ledger in the same data folder, such as one to import into."""

    async def told() -> None:
        await with_ledger(folder, new_key)
        (folder / "ledger.sqlite").rename(folder / "aside.sqlite")
        for serve in (True, False):
            with pytest.raises(StoreRolledBack) as refused:
                await with_ledger(folder, nothing, serve=serve, name=name)
            assert "it is not there" in str(refused.value)
            assert f"remove {marks_in(folder)}" in str(refused.value)
            assert "--data-dir" in str(refused.value)
            assert not (folder / f"{name}.sqlite").exists()

    story(told())


def test_another_ledger_in_its_place_is_refused(folder: Path, tmp_path: Path) -> None:
    async def told() -> None:
        await with_ledger(folder, new_key)
        await with_ledger(tmp_path / "other", new_key)
        shutil.copy(tmp_path / "other" / "ledger.sqlite", folder / "ledger.sqlite")
        with pytest.raises(StoreRolledBack, match="emptied, moved or replaced"):
            await with_ledger(folder, nothing)

    story(told())


def test_a_command_binds_no_folder_to_a_ledger_that_it_looks_at(folder: Path, tmp_path: Path) -> None:
    async def told() -> None:
        folder.mkdir()
        for name in ("one", "two"):
            ledger = open_ledger(
                f"sqlite:///{tmp_path}/{name}.sqlite", serve=False, watermarks=marks_in(folder)
            )
            await ledger.open()
            await new_key(ledger)
            await ledger.close()
        assert not marks_in(folder).exists()

    story(told())


def test_a_server_that_refused_lets_go_of_the_file(folder: Path) -> None:
    async def told() -> None:
        key, newest = await sold_after_a_copy(folder)
        refusing = open_ledger(f"sqlite:///{folder}/ledger.sqlite", watermarks=marks_in(folder))
        with pytest.raises(StoreRolledBack):
            await refusing.open()
        shutil.copy(newest, folder / "ledger.sqlite")
        await with_ledger(folder, lambda ledger: ledger.head(key))  # while the other object still lives

    story(told())


def test_a_hold_of_a_dead_server_is_not_dropped_from_a_refused_file(folder: Path) -> None:
    """Nothing of a refused file is changed: whoever looks into what happened finds it as it was."""

    async def told() -> None:
        key = await with_ledger(folder, new_key)

        async def hold(ledger: Archive) -> None:
            await reserve(ledger, key, "a")

        await with_ledger(folder, hold)
        older = copy_of(folder)
        await with_ledger(folder, lambda ledger: ledger.grant(key, 1))
        shutil.copy(older, folder / "ledger.sqlite")
        with pytest.raises(StoreRolledBack):
            await with_ledger(folder, nothing)
        with sqlite3.connect(folder / "ledger.sqlite") as db:
            assert db.execute("SELECT count(*) FROM holds").fetchone() == (1,)
        db.close()

    story(told())


def test_a_charge_saves_no_watermark_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Durable charging must not pay for a second sync."""
    saved: list[None] = []
    save = Watermarks.save

    def counted(self: Watermarks) -> None:
        saved.append(None)
        save(self)

    monkeypatch.setattr(Watermarks, "save", counted)

    async def told() -> None:
        async def sell(ledger: Archive) -> None:
            key = await new_key(ledger, 50)
            for image in range(20):
                await buy(ledger, key, str(image))
            assert len(saved) <= 2, "a turn each second, and a slow machine"

        await with_ledger(folder, sell)
        assert saved

    story(told())
