"""What files hold, read once: thousands of photographs take minutes.

In: paths, and where to keep what was found. Out: SHA-256 of each. A file counts as the one that was read
before while its path, its size and both times of its last change are the same: that of its content, which
copying may preserve, and that of its entry in the file system, which nobody can set.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from shared.digest import sha256_of_file
from student_trainer.errors import InvalidInput
from student_trainer.progress import progress
from student_trainer.trials.files import write_whole

_SHOWN_FROM = 1_000
"""Files to be read; fewer take no time that anyone would want to see pass."""
_Found: TypeAlias = dict[str, tuple[int, int, int, str]]
"""Path -> size in bytes, both times of the last change in ns, digest."""


@dataclass(frozen=True)
class FileDigests:
    """A reader of files that remembers."""

    memory: Path | None = None
    """JSON; None remembers nothing."""

    def of(self, paths: Sequence[Path]) -> list[str]:
        """The digest of each.

        Raises:
            InvalidInput: a file cannot be read.
            StorageFailed: what was found cannot be kept.
        """
        known = self._known()
        wished = {str(path.absolute()): path for path in paths}
        try:
            marks = {name: _mark(path) for name, path in wished.items()}
            new = [name for name, mark in marks.items() if known.get(name, ())[:3] != mark]
            try:
                with progress("Reading", len(new), "images", shown=len(new) >= _SHOWN_FROM) as bar:
                    for name in new:
                        known[name] = (*marks[name], sha256_of_file(wished[name]))
                        bar.advance()
            finally:  # who is interrupted has read the first ones
                if new and self.memory is not None:
                    write_whole(self.memory, json.dumps(known) + "\n")
        except OSError as error:
            raise InvalidInput(f"A file to measure on or with cannot be read: {error}") from None
        return [known[str(path.absolute())][3] for path in paths]

    def _known(self) -> _Found:
        """What was found before; nothing where it cannot be read, since files can be read again."""
        if self.memory is None:
            return {}
        try:
            document = json.loads(self.memory.read_bytes())
            return {
                str(name): (int(size), int(modified_ns), int(changed_ns), str(digest))
                for name, (size, modified_ns, changed_ns, digest) in document.items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def _mark(path: Path) -> tuple[int, int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
