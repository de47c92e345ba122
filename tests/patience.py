"""Wait for what another thread or process does in its own time."""

import time
from collections.abc import Callable

PATIENCE_S = 60.0


def until(happened: Callable[[], bool]) -> None:
    """Return as soon as it has happened; fail when it has not after a minute."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline_s, "waited for too long"
        time.sleep(0.02)
