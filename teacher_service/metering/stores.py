"""Which store a ledger URL names.

In: ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or ``redis://...``. Out: a ledger, not open yet.
"""

from pathlib import Path

from teacher_service.metering.archive import Archive
from teacher_service.metering.sqlite.store import SqliteLedger
from teacher_service.redis_urls import names_redis, place_of

SUPPORTED = "sqlite:///FILE (an absolute FILE gives four slashes), or redis://HOST:PORT/DATABASE"


class UnsupportedLedger(ValueError):
    """A ledger URL names no store of ours."""


def open_ledger(
    url: str,
    *,
    serve: bool = True,
    lease_ms: int | None = None,
    watermarks: Path | None = None,
    allow_unsafe_redis: bool = False,
) -> Archive:
    """The ledger that ``url`` names; ``await ledger.open()`` before use.

    Args:
        url: see the module's first lines.
        serve: True for a process that answers requests, False beside it (the command line).
        lease_ms: how long an unsettled hold lives; None for the store's default.
        watermarks: file of the chain ends that were seen, to refuse a store that was rolled back while this
            service was down; None to remember them in memory alone. A process that does not serve makes none.
        allow_unsafe_redis: serve from a Redis that may evict or forget what was acknowledged.

    Raises:
        UnsupportedLedger: another scheme, or no file name. The URL is never repeated: mistyped, any
            part of it may be a password.
        ValueError: the URL of a Redis cannot be read.
    """
    scheme, separator, rest = url.partition("://")
    if not serve and watermarks is not None and not watermarks.exists():
        watermarks = None  # a look at some ledger must not bind this folder to it
    if names_redis(url):
        from teacher_service.metering.redis.store import RedisLedger

        return RedisLedger(
            url, serve=serve, lease_ms=lease_ms, watermarks=watermarks, allow_unsafe=allow_unsafe_redis
        )
    if not separator or scheme != "sqlite":
        raise UnsupportedLedger(f"There is no ledger store for this URL: use {SUPPORTED}.")
    if not rest.startswith("/") or len(rest) < 2 or rest.endswith(("/", ":memory:")) or "?" in rest:
        raise UnsupportedLedger(f"The URL names no file for the ledger: use {SUPPORTED}.")
    return SqliteLedger(Path(rest[1:]), serve=serve, lease_ms=lease_ms, watermarks=watermarks)


async def ledger_is_there(url: str) -> bool:
    """Whether a ledger was begun at ``url``; looking makes none. Raises LedgerUnavailable."""
    if not names_redis(url):
        return Path(url.removeprefix("sqlite:///")).exists()
    from teacher_service.metering.redis.presence import holds_ledger

    return await holds_ledger(url)


def place_of_ledger(url: str) -> str:
    """The file, or the URL without its password, for people."""
    scheme, _, rest = url.partition("://")
    return rest[1:] if scheme == "sqlite" else place_of(url)
