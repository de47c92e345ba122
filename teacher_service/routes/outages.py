"""What the log says of a ledger that cannot be used: enough to mend it, and no line for each request.

In: each error that a request met. Out: a line at the first of its kind, then at most one every ten seconds,
which counts those between. Callers are told none of it: who sends a made-up key must not learn keys, paths or
hosts.
"""

import threading
import time
from collections.abc import Callable

from teacher_service.logs import log
from teacher_service.metering.ledger import LedgerUnavailable

TELL_EVERY_S = 10.0


class OutageLog:
    """May be used by several threads.

    Args:
        clock_s: seconds of a clock that never goes back.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._told_at_s: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def note(self, error: LedgerUnavailable, request_id: str) -> None:
        """A request could not be served."""
        kind = type(error).__name__  # there are a few; texts may differ from request to request
        with self._lock:
            now_s, before_s = self._clock_s(), self._told_at_s.get(kind)
            if before_s is not None and now_s - before_s < TELL_EVERY_S:
                self._untold[kind] = self._untold.get(kind, 0) + 1
                return
            self._told_at_s[kind] = now_s
            untold = self._untold.pop(kind, None)
        log(
            "ledger_unavailable",
            level="error",
            request_id=request_id,
            kind=kind,
            reason=str(error),
            more_since_last=untold,
        )
