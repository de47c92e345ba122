"""Whether a Redis database holds a ledger: asked without making one there.

In: a URL. Out: yes or no, or LedgerUnavailable. A mistyped database is empty, and a new ledger in it would
look as healthy as the right one.
"""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from teacher_service.metering.redis import keyspace
from teacher_service.metering.redis.connection import ANSWER_TIMEOUT_S, unavailable
from teacher_service.redis_pool import open_pool


async def holds_ledger(url: str) -> bool:
    """Whether a ledger was begun in the database that ``url`` names. Raises LedgerUnavailable."""
    pool = open_pool(url, timeout_s=ANSWER_TIMEOUT_S)
    try:
        return bool(await Redis(connection_pool=pool).exists(keyspace.STORE))
    except (RedisError, OSError) as error:
        raise unavailable(error) from None
    finally:
        await pool.disconnect()
