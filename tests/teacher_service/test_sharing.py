"""What replicas share is looked at before serving: a cache evicts, a ledger never, and not in one place."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from redis_process import RedisProcess

from teacher_service.errors import InvalidArgument
from teacher_service.settings import Settings
from teacher_service.sharing import check_sharing

CACHE = {"appendonly": "no", "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}


@pytest.fixture(scope="module")
def ledger(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return start_redis()


@pytest.fixture(scope="module")
def cache(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return start_redis(**CACHE)


def warnings(**settings: str) -> list[str]:
    return asyncio.run(check_sharing(Settings(**settings)))  # type: ignore[arg-type]


def test_one_process_with_everything_of_its_own_has_nothing_to_hear(tmp_path: Path) -> None:
    assert warnings() == warnings(ledger=f"sqlite:///{tmp_path / 'ledger.sqlite'}") == []


def test_a_ledger_and_a_cache_that_are_apart_and_fit_are_nothing_to_speak_of(
    ledger: RedisProcess, cache: RedisProcess
) -> None:
    assert warnings(ledger=ledger.url, cache=cache.url) == []


@pytest.mark.parametrize("alias", ["127.0.0.1", "localhost"])
def test_a_cache_in_the_ledgers_own_database_is_refused_under_any_name(
    ledger: RedisProcess, alias: str
) -> None:
    with pytest.raises(InvalidArgument, match="server of its own with --cache"):
        warnings(ledger=ledger.url, cache=f"redis://{alias}:{ledger.port}")


def test_it_is_refused_even_while_the_server_is_down(start_redis: Callable[..., RedisProcess]) -> None:
    down = start_redis()
    down.stop()
    with pytest.raises(InvalidArgument, match="the ledger would lose"):
        warnings(ledger=down.url, cache=f"redis://me:secret@127.0.0.1:{down.port}/0")


def test_another_database_of_the_ledgers_server_is_warned_of(ledger: RedisProcess) -> None:
    found = warnings(ledger=ledger.url, cache=f"redis://127.0.0.1:{ledger.port}/1")
    assert any("share one Redis server" in warning for warning in found)
    assert len(found) == 3  # and it neither evicts nor has a limit


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"maxmemory": "0"}, "no limit of memory"),
        ({"maxmemory-policy": "noeviction"}, "never evicts"),
    ],
)
def test_a_cache_that_would_grow_or_fill_up_is_warned_of(
    start_redis: Callable[..., RedisProcess], options: dict[str, str], words: str
) -> None:
    [warning] = warnings(cache=start_redis(**{**CACHE, **options}).url)
    assert words in warning


def test_a_cache_that_is_down_is_warned_of_without_its_password(ledger: RedisProcess) -> None:
    found = warnings(ledger=ledger.url, cache="redis://:topsecret@127.0.0.1:1/0", rates=ledger.url)
    assert "does not answer" in found[0]
    assert "everything is computed" in found[0]
    assert len(found) == 1
    assert "topsecret" not in found[0]


@pytest.mark.parametrize("where", ["rates", "cache"])
def test_rates_that_cannot_be_counted_are_warned_of_wherever_they_are_counted(where: str) -> None:
    """Counted where the cache is, they are lost with it."""
    found = warnings(**{where: "redis://:topsecret@127.0.0.1:1/0"})
    assert len(found) == {"rates": 1, "cache": 2}[where]
    assert "keys with a rate are refused with 503" in found[-1]
    assert "topsecret" not in found[-1]


def test_a_shared_ledger_with_rates_counted_in_memory_is_warned_of(
    ledger: RedisProcess, cache: RedisProcess
) -> None:
    for settings in ({}, {"cache": cache.url, "rates": "memory"}):
        [warning] = warnings(ledger=ledger.url, **settings)
        assert "each replica then grants a key its whole rate" in warning
    assert warnings(ledger=ledger.url, rates=cache.url) == []
