"""Looked at once, before serving: is what replicas share fit to be shared?

In: settings. Out: what the operator should know. A cache in the ledger's own Redis database is refused: a
cache evicts, and a ledger must never.
"""

from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from teacher_service.errors import InvalidArgument
from teacher_service.redis_pool import open_pool
from teacher_service.redis_urls import names_redis, place_of
from teacher_service.settings import MEMORY, Settings

_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class _Found:
    """What a Redis tells of itself."""

    place: str
    address: tuple[str, ...]
    """As the URL names it; the same server may have several."""
    database: int
    run_id: str = ""
    maxmemory: int = 0
    policy: str = ""
    error: str = ""
    """Why it could not be looked at."""

    def is_server_of(self, other: "_Found") -> bool:
        """Whether both are one server, by its own word if it gave it."""
        if self.run_id and other.run_id:
            return self.run_id == other.run_id
        return self.address == other.address


async def check_sharing(settings: Settings) -> list[str]:
    """Warnings for the log.

    Raises:
        InvalidArgument: cache and ledger are the same database of the same Redis server.
    """
    ledger_is_shared = names_redis(settings.ledger_url)
    warnings = []
    if ledger_is_shared and settings.rates_place == MEMORY:
        warnings.append(
            "Rate limits are counted in memory: each replica then grants a key its whole rate. "
            "Name a Redis with --rates or --cache."
        )
    found = {place: await _look(place) for place in {settings.cache, settings.rates_place} - {MEMORY}}
    if settings.cache in found:
        cache = found[settings.cache]
        warnings += _unfit(cache)
        if ledger_is_shared:
            warnings += _apart(cache, await _look(settings.ledger_url))
    if settings.rates_place in found:
        warnings += _uncounted(found[settings.rates_place])
    return warnings


def _apart(cache: _Found, ledger: _Found) -> list[str]:
    if not cache.is_server_of(ledger):
        return []
    if cache.database == ledger.database:
        raise InvalidArgument(
            f"The cache is in the ledger's own Redis database, {cache.place}: what a cache evicts, the "
            "ledger would lose. Give the cache a Redis server of its own with --cache."
        )
    return [
        f"Cache {cache.place} and ledger share one Redis server, and eviction is set for a whole server: no "
        "limit of memory fits both. Give the cache a server of its own."
    ]


def _unfit(cache: _Found) -> list[str]:
    if cache.error:
        return [
            f"Cache {cache.place} does not answer ({cache.error}): until it does, everything is computed."
        ]
    warnings = []
    if cache.maxmemory == 0:
        warnings.append(f"Cache {cache.place} has no limit of memory. Set its maxmemory.")
    if cache.policy == "noeviction":
        warnings.append(
            f"Cache {cache.place} never evicts, and will take nothing more once it is full. "
            "Set its maxmemory-policy to allkeys-lru."
        )
    return warnings


def _uncounted(rates: _Found) -> list[str]:
    if not rates.error:
        return []
    return [
        f"The Redis of the rate limits, {rates.place}, does not answer ({rates.error}): until it does, keys "
        "with a rate are refused with 503."
    ]


async def _look(url: str) -> _Found:
    pool = open_pool(url, timeout_s=_TIMEOUT_S)
    named = {"host": "localhost", "port": 6379, "path": "", "db": 0, **pool.connection_kwargs}
    address = (str(named["host"]), str(named["port"]), str(named["path"]))
    database = int(named["db"])
    client = Redis(connection_pool=pool)
    try:
        server, memory = await client.info("server"), await client.info("memory")
    except (RedisError, OSError) as error:
        return _Found(place_of(url), address, database, error=f"{type(error).__name__}: {error}")
    finally:
        await pool.disconnect()
    return _Found(
        place=place_of(url),
        address=address,
        database=database,
        run_id=server["run_id"],
        maxmemory=int(memory["maxmemory"]),
        policy=str(memory["maxmemory_policy"]),
    )
