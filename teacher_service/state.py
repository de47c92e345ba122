"""What the service keeps between two runs, or shares with its replicas: signing key, ledger, cache, rates.

In: settings. Out: the key, made on first use, and the others, not connected yet.
"""

from collections.abc import Callable
from pathlib import Path

from teacher_service.access.rates import RateLimits
from teacher_service.errors import DataDirUnusable, InvalidArgument
from teacher_service.inference.cache import DescriptorCache, MemoryCache
from teacher_service.inference.redis_cache import RedisCache
from teacher_service.metering.archive import Archive
from teacher_service.metering.signing import ReceiptSigner, SigningKeyUnusable
from teacher_service.metering.stores import SUPPORTED, UnsupportedLedger, open_ledger
from teacher_service.settings import MEMORY, Settings

WATERMARKS_FILE = "watermarks.sqlite"


def load_signer(data_dir: Path) -> ReceiptSigner:
    """The key that signs receipts, made on first use. Raises DataDirUnusable."""
    try:
        return ReceiptSigner.load_or_create(data_dir)
    except SigningKeyUnusable as error:
        raise DataDirUnusable(str(error)) from error
    except OSError as error:
        raise DataDirUnusable(
            f"The data folder {data_dir} cannot be used: {error.strerror or error}. "
            "Name another with --data-dir."
        ) from error


def open_store(settings: Settings, *, serve: bool, reads_only: bool = False) -> Archive:
    """The ledger that the settings name, not opened yet. Raises InvalidArgument.

    Whoever promises to change nothing (``reads_only``) is only warned of a Redis that may evict or forget.
    """
    try:
        return open_ledger(
            settings.ledger_url,
            serve=serve,
            lease_ms=settings.lease_ms,
            watermarks=settings.data_dir / WATERMARKS_FILE,
            allow_unsafe_redis=settings.allow_unsafe_redis or reads_only,
        )
    except UnsupportedLedger as error:
        raise InvalidArgument(str(error)) from None
    except (ValueError, TypeError):  # their texts may hold a part of the password
        raise InvalidArgument(f"The URL of the ledger cannot be read: use {SUPPORTED}.") from None


def open_cache(settings: Settings, dimension: int, on_error: Callable[[], None]) -> DescriptorCache:
    """Where descriptors of ``dimension`` values are kept between requests; ``on_error`` counts failures."""
    if settings.cache == MEMORY:
        return MemoryCache(settings.cache_bytes)
    return RedisCache(settings.cache, ttl_s=settings.cache_ttl_s, dimension=dimension, on_error=on_error)


def open_rates(settings: Settings) -> RateLimits:
    """Where rate limits are counted."""
    return RateLimits(settings.rates_place)
