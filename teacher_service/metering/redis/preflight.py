"""What a Redis must be before a ledger is entrusted to it, and the faults that can be seen while it serves.

In: a way to ask one server. Out: nothing, or why this Redis will not do: it may evict keys, it may forget
what it has acknowledged, it is a replica or part of a cluster, or it is too old.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from redis.exceptions import ResponseError

from teacher_service.logs import log
from teacher_service.metering.ledger import LedgerUnavailable

Ask: TypeAlias = Callable[..., Awaitable[Any]]
"""Sends one command over one connection and returns the reply as it came."""

OLDEST = (6, 2)
"""The first with ranges by score in ``ZRANGE``."""
_SETTINGS = ("maxmemory-policy", "appendonly", "appendfsync")


async def check_server(ask: Ask, *, allow_unsafe: bool) -> None:
    """Refuse an unsafe server, or warn of it where that was allowed.

    Raises:
        LedgerUnavailable: says what to set, and how to go on without.
    """
    faults = await _faults_of_kind(ask)
    if faults:
        raise LedgerUnavailable(f"This Redis cannot hold a ledger: {'; '.join(faults)}.")
    settings = await _settings(ask)
    faults = _faults_of_settings(settings)
    if faults and not allow_unsafe:
        raise LedgerUnavailable(
            f"This Redis is not safe for a ledger: {'; '.join(faults)}. Mend its configuration, or accept "
            "the risk with TEACHER_ALLOW_UNSAFE_REDIS=true."
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


async def faults_while_serving(ask: Ask) -> list[str]:
    """What is wrong with the server's persistence and memory now, one sentence each."""
    persistence, memory = await info(ask, "persistence"), await info(ask, "memory")
    used, most = int(memory["used_memory"]), int(memory["maxmemory"])
    faults = _faults_of_settings(await _settings(ask))
    if persistence.get("aof_last_write_status", "ok") != "ok":
        faults.append("the last write of the append-only file failed")
    if most and used > 0.95 * most:
        faults.append(f"{used:,} of {most:,} bytes of memory are used: it will soon refuse writes")
    return faults


async def info(ask: Ask, section: str) -> dict[str, str]:
    """One section of what the server tells of itself."""
    text: bytes = await ask("INFO", section)
    lines = (line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    return {name: value for name, value in lines}


async def _faults_of_kind(ask: Ask) -> list[str]:
    server, replication = await info(ask, "server"), await info(ask, "replication")
    faults = []
    version = tuple(int(part) for part in server["redis_version"].split(".")[:2])
    if version < OLDEST:
        faults.append(f"it is version {server['redis_version']}, {OLDEST[0]}.{OLDEST[1]} is needed")
    if server.get("redis_mode") == "cluster":
        faults.append("it is part of a cluster; use a single server, or one behind sentinels")
    if replication.get("role") != "master":
        faults.append("it is a replica; name the server that takes writes")
    return faults


async def _settings(ask: Ask) -> Mapping[str, str] | None:
    """The settings that safety rests on; None where the server does not tell (some hosted ones)."""
    settings: dict[str, str] = {}
    try:
        for name in _SETTINGS:  # one by one: before Redis 7 it takes no more at once
            told: list[bytes] = await ask("CONFIG", "GET", name)
            settings |= {told[at].decode(): told[at + 1].decode() for at in range(0, len(told), 2)}
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
