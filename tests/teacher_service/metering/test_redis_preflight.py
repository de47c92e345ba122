"""A Redis that may forget what it acknowledged is refused before it is entrusted with a ledger."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import pytest
from redis_process import RedisProcess
from redis_replicas import buy, new_key, replica
from tcp_proxy import TcpProxy

from teacher_service.metering.ledger import LedgerUnavailable

CONFIG_REFUSED = ("reset", "on", "nopass", "~*", "&*", "+@all", "-config")


@pytest.fixture(scope="module")
def server(start_redis: Callable[..., RedisProcess]) -> RedisProcess:
    return start_redis()


@pytest.fixture
def redis(server: RedisProcess) -> Iterator[RedisProcess]:
    """Fit for a ledger before and after each test."""
    yield server
    with server.client() as client:
        for name, value in server.options.items():
            client.config_set(name, value)
        client.config_set("maxmemory", "0")
        client.replicaof("NO", "ONE")
        client.execute_command("ACL", "SETUSER", "default", *CONFIG_REFUSED[:-1])
        client.flushall()


def open_at(url: str, *, allow_unsafe: bool = False) -> None:
    async def story() -> None:
        async with replica(url, allow_unsafe=allow_unsafe) as ledger:
            await buy(ledger, await new_key(ledger), "a")

    asyncio.run(story())


def refusal(url: str, *, allow_unsafe: bool = False) -> str:
    with pytest.raises(LedgerUnavailable) as caught:
        open_at(url, allow_unsafe=allow_unsafe)
    return str(caught.value)


def set_up(redis: RedisProcess, name: str, value: str) -> None:
    with redis.client() as client:
        client.config_set(name, value)


UNSAFE = [
    ("maxmemory-policy", "allkeys-lru", "maxmemory-policy is allkeys-lru, it must be noeviction"),
    ("maxmemory-policy", "volatile-ttl", "maxmemory-policy is volatile-ttl"),
    ("appendonly", "no", "appendonly is off"),
]


@pytest.mark.parametrize(("name", "value", "told"), UNSAFE)
def test_an_unsafe_setting_is_refused_and_served_from_only_with_a_warning(
    redis: RedisProcess, caplog: pytest.LogCaptureFixture, name: str, value: str, told: str
) -> None:
    set_up(redis, name, value)
    message = refusal(redis.url)
    assert told in message
    assert "TEACHER_ALLOW_UNSAFE_REDIS" in message
    with redis.client() as client:
        assert client.keys("*") == [], "nothing was written into it"
    open_at(redis.url, allow_unsafe=True)
    warnings = [record for record in caplog.records if record.message == "unsafe_ledger_redis"]
    assert [told in vars(record)["fields"]["reason"] for record in warnings] == [True]


def test_every_fault_is_named_at_once(redis: RedisProcess) -> None:
    set_up(redis, "maxmemory-policy", "allkeys-random")
    set_up(redis, "appendonly", "no")
    message = refusal(redis.url)
    assert "allkeys-random" in message
    assert "appendonly" in message


@pytest.mark.parametrize("value", ["everysec", "no"])
def test_a_server_that_syncs_less_than_always_is_served_from_with_a_warning(
    redis: RedisProcess, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    set_up(redis, "appendfsync", value)
    open_at(redis.url)
    assert caplog.messages == ["ledger_redis_may_lose_a_second"]


def test_a_fit_server_is_served_from_without_a_word(
    redis: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    open_at(redis.url)
    assert caplog.messages == []


def test_a_replica_is_refused_whatever_is_allowed(redis: RedisProcess) -> None:
    with redis.client() as client:
        client.replicaof("127.0.0.1", 1)
    assert "it is a replica; name the server that takes writes" in refusal(redis.url, allow_unsafe=True)


def test_a_cluster_is_refused_whatever_is_allowed(start_redis: Callable[..., RedisProcess]) -> None:
    cluster = start_redis(**{"cluster-enabled": "yes"})
    assert "it is part of a cluster" in refusal(cluster.url, allow_unsafe=True)
    cluster.stop()


def test_a_server_that_does_not_tell_its_settings_is_refused(redis: RedisProcess) -> None:
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", "default", *CONFIG_REFUSED)
        message = refusal(redis.url)
        assert "does not tell its settings" in message
        open_at(redis.url, allow_unsafe=True)
        client.execute_command("ACL", "SETUSER", "default", "+config")


def test_settings_are_asked_for_one_by_one(redis: RedisProcess) -> None:
    """Redis 6.2 knows no other way, and is to be served from."""
    with TcpProxy(redis.port) as proxy:
        open_at(f"redis://127.0.0.1:{proxy.port}/0")
        asked = bytes(proxy.sent).split(b"CONFIG\r\n$3\r\nGET\r\n")
        assert [before.rpartition(b"*")[2][:1] for before in asked[:-1]] == [b"3"] * 3


def test_a_server_that_comes_back_with_unsafe_settings_is_not_served_from_until_they_are_mended(
    start_redis: Callable[..., RedisProcess],
) -> None:
    """It might forget which images were paid, and have them paid again."""
    server = start_redis()

    async def story() -> None:
        async with replica(server.url) as ledger:
            key = await new_key(ledger)
            await buy(ledger, key, "a")
            await asyncio.to_thread(restart_with, server, "allkeys-lru")
            for _ in range(2):
                with pytest.raises(LedgerUnavailable, match="maxmemory-policy is allkeys-lru"):
                    await buy(ledger, key, "b")
            await asyncio.to_thread(restart_with, server, "noeviction")
            assert (await buy(ledger, key, "b")).used_after == 2

    asyncio.run(story())


def restart_with(server: RedisProcess, policy: str) -> None:
    server.stop()
    server.options["maxmemory-policy"] = policy
    server.start()


class TestHealth:
    @pytest.mark.parametrize(("name", "value", "told"), UNSAFE)
    def test_a_setting_that_is_changed_while_it_serves_is_told(
        self, redis: RedisProcess, name: str, value: str, told: str
    ) -> None:
        async def story() -> None:
            async with replica(redis.url) as ledger:
                assert await ledger.health() == []
                set_up(redis, name, value)
                (fault,) = await ledger.health()
                assert told in fault

        asyncio.run(story())

    def test_a_memory_that_is_nearly_full_is_told(self, redis: RedisProcess) -> None:
        async def story() -> None:
            async with replica(redis.url) as ledger:
                with redis.client() as client:
                    used: int = client.info("memory")["used_memory"]
                set_up(redis, "maxmemory", str(2 * used))
                assert await ledger.health() == []
                set_up(redis, "maxmemory", str(used))
                (fault,) = await ledger.health()
                assert "it will soon refuse writes" in fault

        asyncio.run(story())

    def test_a_server_that_is_gone_is_unavailable(self, start_redis: Callable[..., RedisProcess]) -> None:
        async def story() -> None:
            gone = start_redis()
            async with contextlib.AsyncExitStack() as stack:
                ledger = await stack.enter_async_context(replica(gone.url))
                gone.stop()
                with pytest.raises(LedgerUnavailable):
                    await ledger.health()

        asyncio.run(story())
