"""Files that are whole or not there: what is left is read by the next command.

In: a path and its content. Out: the file in place of an older one, or a :class:`StorageFailed`.
"""

from pathlib import Path

from shared import whole_files
from student_trainer.errors import StorageFailed


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, with its folder if that is missing.

    Raises:
        StorageFailed: it cannot be written; an older file is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole_files.write_whole(path, content)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error}. An older file is unchanged.") from None
