"""Which store a ledger URL names.

In: ``sqlite:///relative/path`` or ``sqlite:////absolute/path``. Out: a ledger, not opened yet.
"""

from pathlib import Path

from teacher_service.metering.sqlite import DEFAULT_LEASE_MS, SqliteLedger

SUPPORTED = "sqlite:///FILE (an absolute FILE gives four slashes)"


class UnsupportedLedger(ValueError):
    """A ledger URL names no store of ours."""


def open_ledger(url: str, *, serve: bool = True, lease_ms: int = DEFAULT_LEASE_MS) -> SqliteLedger:
    """The ledger that ``url`` names; ``await ledger.open()`` before use.

    Args:
        url: see the module's first lines.
        serve: True for the one process that answers requests, False beside it (the command line).
        lease_ms: how long an unsettled hold lives.

    Raises:
        UnsupportedLedger: another scheme, or no file name.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme != "sqlite":
        raise UnsupportedLedger(f"There is no ledger store for {_without_password(url)!r}: use {SUPPORTED}.")
    if not rest.startswith("/") or len(rest) < 2 or rest.endswith(("/", ":memory:")) or "?" in rest:
        raise UnsupportedLedger(f"{url!r} names no file for the ledger: use {SUPPORTED}.")
    return SqliteLedger(Path(rest[1:]), serve=serve, lease_ms=lease_ms)


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}...@{rest.rpartition('@')[2]}" if "@" in rest else url
