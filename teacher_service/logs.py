"""Structured logs: one JSON object a line on standard error.

In: named events with plain values. Out: lines with time, level, event and request id. Keys and image bytes
are never handed in; what looks like a key is masked all the same, for exceptions of other libraries.
"""

import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

_LOGGER = logging.getLogger("teacher_service")
_KEY_TEXT = re.compile(r"rtn_[\w-]+")
_MAX_TEXT = 500
"""Characters kept of a message or of one value."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def configure_logs(level: str) -> None:
    """Send everything of this process, the web server's lines too, to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, _LOGGER.getEffectiveLevel()))
    for noisy in ("PIL", "asyncio", "python_multipart", "torch"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def tell_reasons() -> None:
    """Tell warnings to somebody who types a command: one line of text each, with the reason."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Sentences())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def log(event: str, *, level: str = "info", error: BaseException | None = None, **fields: Any) -> None:
    """Write one event; ``None`` values are left out."""
    number = logging.getLevelNamesMapping()[level.upper()]
    if _LOGGER.isEnabledFor(number):
        details = (type(error), error, error.__traceback__) if error is not None else None
        _LOGGER.log(number, event, extra={"fields": fields}, exc_info=details)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] | None = getattr(record, "fields", None)
        if fields is None:  # a line of another module or library
            fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": _cut(record.getMessage()),
        }
        line |= {name: _cut(value) for name, value in fields.items() if value is not None}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line["error"] = _cut(f"{type(error).__name__}: {error}")
            frames = traceback.extract_tb(error.__traceback__)
            line["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return _KEY_TEXT.sub("rtn_***", orjson.dumps(line, default=str).decode())


class _Sentences(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        reason = getattr(record, "fields", {}).get("reason")
        words = record.getMessage().replace("_", " ") if reason is None else reason
        return _KEY_TEXT.sub("rtn_***", f"teacher-service: warning: {_cut(words)}")


def _cut(value: Any) -> Any:
    return value[:_MAX_TEXT] if isinstance(value, str) else value
