"""The admin key: what whoever runs the service proves to administer it over HTTP.

In: the setting or the file that holds it, and the ``Authorization`` header of a request. Out: whether that
request may administer. It is no API key: it buys nothing, and no API key opens administration.
"""

import hashlib
import hmac
import os
import re
import stat
from pathlib import Path

from pydantic import SecretStr

from teacher_service.errors import InvalidArgument

MIN_CHARACTERS = 32
_FORM = re.compile(r"[!-~]{32,512}")  # what a header carries unchanged
_MAX_FILE_BYTES = 1024
_ADVICE = "Make one with: openssl rand -hex 32"


class InvalidAdminKey(Exception):
    """The request does not carry the admin key."""


class AdminKey:
    """Knows the admin key again; its text is not kept."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, which never repeats the text, if it is no admin key."""
        if _FORM.fullmatch(text) is None:
            raise ValueError(
                f"an admin key has {MIN_CHARACTERS} to 512 printable ASCII characters and no spaces, "
                f"this one has {len(text)} characters. {_ADVICE}"
            )
        if text.startswith("rtn_"):
            raise ValueError(f"an API key cannot be the admin key. {_ADVICE}")
        self._hash = hashlib.sha256(text.encode("ascii")).digest()

    def check(self, authorization_header: str | None) -> None:
        """Raises InvalidAdminKey unless the header is ``Bearer`` and this key."""
        if not authorization_header:
            raise InvalidAdminKey("No admin key was sent. Send it as: Authorization: Bearer ADMIN_KEY")
        scheme, _, text = authorization_header.partition(" ")
        sent = hashlib.sha256(text.strip().encode("utf-8", "surrogateescape")).digest()
        # Of hashes and in constant time, so that the time tells neither the text nor its length.
        if not hmac.compare_digest(sent, self._hash) or scheme.lower() != "bearer":
            raise InvalidAdminKey("This is not the admin key of this service. API keys do not administer it.")


def load_admin_key(text: SecretStr | None, file: Path | None) -> AdminKey | None:
    """The admin key of the settings, or None where administration over HTTP is switched off.

    Raises:
        InvalidArgument: both are set; the text is no admin key; the file is missing, or open to others.
    """
    if text is not None and file is not None:
        raise InvalidArgument(
            "TEACHER_ADMIN_KEY and --admin-key-file (TEACHER_ADMIN_KEY_FILE) are both set: leave one out."
        )
    if file is not None:
        return _made(_read(file), str(file))
    return None if text is None else _made(text.get_secret_value(), "TEACHER_ADMIN_KEY")


def _made(text: str, where: str) -> AdminKey:
    try:
        return AdminKey(text)
    except ValueError as error:
        raise InvalidArgument(f"{where}: {error}.") from None


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode  # of what is read, not of what the name means by now
            if stat.S_IMODE(mode) & 0o077:
                raise InvalidArgument(
                    f"The admin key file {file} may be read by others (mode {stat.S_IMODE(mode):04o}). "
                    f"Make a new key, and keep it from them: chmod 600 {file}"
                )
            return opened.read(_MAX_FILE_BYTES).decode("utf-8", "replace").strip()
    except OSError as error:
        raise InvalidArgument(f"Cannot read the admin key file {file}: {error.strerror or error}.") from error
