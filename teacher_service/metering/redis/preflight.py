"""What a Redis must be before a ledger is entrusted to it, and the faults that can be seen while it serves.

In: a connection. Out: nothing, or why this Redis will not do: it may evict keys, it may forget what it has
acknowledged, it is a replica or part of a cluster, or it is too old.
"""

from collections.abc import Mapping

from redis.exceptions import ResponseError

from teacher_service.logs import log
from teacher_service.metering.ledger import LedgerUnavailable
from teacher_service.metering.redis.connection import Client

OLDEST = (6, 2)
"""The first with ranges by score in ``ZRANGE``."""
_SETTINGS = ("maxmemory-policy", "appendonly", "appendfsync")


async def check_server(client: Client, *, allow_unsafe: bool) -> None:
    """Refuse an unsafe server, or warn of it where that was allowed.

    Raises:
        LedgerUnavailable: says what to set, and how to go on without.
    """
    faults = await _faults_of_kind(client)
    if faults:
        raise LedgerUnavailable(f"This Redis cannot hold a ledger: {'; '.join(faults)}.")
    settings = await _settings(client)
    faults = _faults_of_settings(settings)
    if faults and not allow_unsafe:
        raise LedgerUnavailable(
            f"This Redis is not safe for a ledger: {'; '.join(faults)}. Mend its configuration, or accept "
            "the risk with --allow-unsafe-redis (TEACHER_ALLOW_UNSAFE_REDIS=true)."
        )
    for fault in faults:
        log("unsafe_ledger_redis", level="warning", reason=fault)
    if settings is not None and settings["appendfsync"] != "always":
        log(
            "ledger_redis_may_lose_a_second",
            level="warning",
            reason=f"appendfsync is {settings['appendfsync']}: a power cut can lose acknowledged charges; "
            "set it to always",
        )


async def faults_while_serving(client: Client) -> list[str]:
    """What is wrong with the server's persistence and memory now, one sentence each."""
    persistence = await client.info("persistence")
    memory = await client.info("memory")
    faults = _faults_of_settings(await _settings(client))
    if persistence.get("aof_last_write_status", "ok") != "ok":
        faults.append("the last write of the append-only file failed")
    if memory["maxmemory"] and memory["used_memory"] > 0.95 * memory["maxmemory"]:
        faults.append(
            f"{memory['used_memory']:,} of {memory['maxmemory']:,} bytes of memory are used: "
            "it will soon refuse writes"
        )
    return faults


async def _faults_of_kind(client: Client) -> list[str]:
    server, replication = await client.info("server"), await client.info("replication")
    faults = []
    version = tuple(int(part) for part in server["redis_version"].split(".")[:2])
    if version < OLDEST:
        faults.append(f"it is version {server['redis_version']}, {OLDEST[0]}.{OLDEST[1]} is needed")
    if server.get("redis_mode") == "cluster":
        faults.append("it is part of a cluster; use a single server, or one behind sentinels")
    if replication.get("role") != "master":
        faults.append("it is a replica; name the server that takes writes")
    return faults


async def _settings(client: Client) -> Mapping[str, str] | None:
    """The settings that safety rests on; None where the server does not tell (some hosted ones)."""
    settings: dict[str, str] = {}
    try:
        for name in _SETTINGS:  # one by one: before Redis 7 it takes no more at once
            for told, value in (await client.config_get(name)).items():
                settings[_text(told)] = _text(value)
    except ResponseError:
        return None
    return settings if settings.keys() == set(_SETTINGS) else None


def _faults_of_settings(settings: Mapping[str, str] | None) -> list[str]:
    if settings is None:
        return ["it does not tell its settings (CONFIG GET is refused), so its safety cannot be checked"]
    faults = []
    if settings["maxmemory-policy"] != "noeviction":
        faults.append(f"maxmemory-policy is {settings['maxmemory-policy']}, it must be noeviction")
    if settings["appendonly"] != "yes":
        faults.append("appendonly is off: what it acknowledged is lost when it stops")
    return faults


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
