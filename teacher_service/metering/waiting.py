"""How holds are named, and how long requests wait for each other: the same on every store."""

import os

CALLS_KEPT_MS = 24 * 3600 * 1000
"""A settled idempotency key is remembered at least this long; under ``every-call`` for ever."""
MIN_WAIT_MS, MAX_WAIT_MS = 100, 2000
"""What a request is advised to wait for another: as long again as that one has taken so far, within these."""


def new_hold_id() -> str:
    """128 random bits, in hexadecimal."""
    return os.urandom(16).hex()
