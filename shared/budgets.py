"""A budget in words: what it is for, until when, and how long that is.

In: queries, windows, moments in milliseconds since 1970. Out: the short texts that tables, messages and
certificates share. No I/O.
"""

from datetime import UTC, datetime

from shared.chain import Window

_MINUTE_MS, _HOUR_MIN = 60_000, 60


def budget_text(queries: int, window: Window) -> str:
    """``4,000`` for a budget in total, ``1,000/day`` for one that each day renews."""
    return f"{queries:,}" if window == "total" else f"{queries:,}/{window}"


def moment_text(at_ms: int) -> str:
    """``2026-03-01 00:00 UTC``: the minute that a moment lies in."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M} UTC"


def duration_text(duration_ms: int) -> str:
    """``3 h 8 min``, rounded up to whole minutes: who waits so long does not come too early."""
    hours, minutes = divmod(max(1, -(-duration_ms // _MINUTE_MS)), _HOUR_MIN)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else ""]
    return " ".join(part for part in parts if part)


def until_text(window_ends_at_ms: int | None) -> str:
    """`` until 2026-03-01 00:00 UTC``, to stand behind what is left; empty for a budget in total."""
    return "" if window_ends_at_ms is None else f" until {moment_text(window_ends_at_ms)}"
