"""Files that are whole or not there, whoever writes the same name at the same time.

In: a path, and text, bytes or a function that writes. Out: the file in place of an older one; or an error,
with the older one as it was and nothing beside it.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

Content: TypeAlias = str | bytes | Callable[[BinaryIO], object]
"""Text becomes UTF-8. A function is given the open file; what it returns is not looked at."""


def write_whole(path: Path, content: Content, *, synced: bool = False) -> None:
    """Replace a file, or leave it as it was; threads and processes may write the same one at a time.

    Args:
        path: in a folder that is there.
        content: what to write.
        synced: wait until the content is on the disk before it takes the name, so that a loss of power leaves
            the older file or this one.

    Raises:
        OSError: the folder cannot be written, or is full. What a function raises is passed on.
    """
    # Hidden, because a folder of images is read while files are added to it, and drawn at random, because
    # writers on two machines or in two containers may have the same process id.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with unfinished.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode("utf-8") if isinstance(content, str) else content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:  # Ctrl-C too
        with suppress(OSError):
            unfinished.unlink()
        raise
