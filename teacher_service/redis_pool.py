"""Connections to a Redis that no charge depends on: that of the cache, and that of the rate limits.

In: a URL. Out: a pool that waits briefly and sends each command once.
"""

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

MAX_CONNECTIONS = 64


def open_pool(url: str, *, timeout_s: float) -> BlockingConnectionPool:
    """A pool that connects at its first command; ``await pool.disconnect()`` ends it.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout_s: for a free connection, for connecting and for each answer.

    Raises:
        ValueError: the URL cannot be read.
    """
    # Without retries, which redis-py does by itself: a server that is down would hold each request up thrice.
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    return pool
