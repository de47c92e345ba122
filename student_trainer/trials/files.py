"""Files that are whole or not there: what is left is read by the next command.

In: a path and its content. Out: the file in place of an older one, or a :class:`StorageFailed`.
"""

import os
from pathlib import Path

from student_trainer.errors import StorageFailed


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, with its folder if that is missing.

    Raises:
        StorageFailed: it cannot be written; an older file is unchanged.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")  # two processes may write the same file
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error}. An older file is unchanged.") from None
