"""Files as they were when something was named by their bytes, and a refusal where they are no longer.

In: paths. Out: digests, taken once; later nothing, or the name of a file that holds other bytes by then.
Hours lie between the planning of a cell and its numbers, and a name must speak of what was computed with.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from student_trainer.errors import InvalidInput
from student_trainer.trials.file_digests import FileDigests


@dataclass(frozen=True)
class Contents:
    """What files held when it was first asked for."""

    paths: tuple[Path, ...]
    files: FileDigests = field(default_factory=FileDigests)
    """Reads them."""

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each; a copy in another process has the same.

        Raises:
            InvalidInput: a file cannot be read.
        """
        return tuple(self.files.of(self.paths))

    def require_unchanged(self) -> None:
        """Read the files anew.

        Raises:
            InvalidInput: one cannot be read, or holds other bytes than at first.
        """
        before = self.digests
        for path, was, now in zip(self.paths, before, self.files.of(self.paths), strict=True):
            if was != now:
                raise InvalidInput(
                    f"{path} changed while it was used: nothing that was computed with it is recorded. Put "
                    "the original back, or start the same command again, which takes the file as it is."
                )
