"""The URLs of Redis: what is one, and how it may be told to people.

In: text. Out: yes or no; the URL without user, password and options.
"""

import re
from urllib.parse import urlsplit

_SCHEMES = ("redis", "rediss", "unix")
_WHOLE = re.compile(r"rediss?://[^/?#\s]+(/\d*)?|unix://[^?#\s]*/[^?#\s]+(\?db=\d+)?")


def names_redis(url: str) -> bool:
    """Whether a URL means a Redis, by its scheme; it may be mistyped behind that."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme in _SCHEMES


def is_redis_url(text: str) -> bool:
    """Whether it is ``redis://HOST:PORT/DATABASE``, ``rediss://...`` or ``unix:///SOCKET?db=DATABASE``."""
    try:
        urlsplit(text).port  # noqa: B018 - raises ValueError for a port that cannot be
    except ValueError:
        return False
    return _WHOLE.fullmatch(text) is not None


def place_of(url: str) -> str:
    """The URL without user, password and options, as it may be logged and compared.

    It is cut and not parsed, as a parser would end the host at a ``/`` or ``#`` of an unencoded password.
    """
    scheme, separator, rest = url.partition("://")
    is_path = rest.startswith("/")  # a socket's, whose name may hold an @
    return f"{scheme}{separator}{(rest if is_path else rest.rpartition('@')[2]).partition('?')[0]}"
