"""Everything that can go wrong for a user of ``student-trainer``, and the exit code that says which.

::

    TrainerError                  1   something failed; the message says what to do next
    ├── InvalidInput              2   a wrong argument, recipe, manifest or folder
    ├── BudgetTooSmall            3   the key cannot pay for what is missing, or not in this window
    ├── ServiceRefused            4   the teacher cannot be reached, or refused for good
    ├── RevisionChanged           5   the teacher is no longer the one whose descriptors were bought
    ├── StorageFailed             6   disk full or run folder damaged; what was committed is safe
    ├── VerificationFailed        7   a receipt, chain or certificate does not hold
    ├── TrainingFailed            8   a loss or gradient is not finite, or training cannot continue
    └── Interrupted             130   stopped by the user, or the cost not agreed to; it can be continued

A command that Ctrl-C ends at once gives 130 too. Running the same command again continues.
"""

from typing import ClassVar

INTERRUPTED = 130
"""Exit code of every command that was interrupted, or whose cost was not agreed to."""


class TrainerError(Exception):
    """Root of the tree above."""

    exit_code: ClassVar[int] = 1


class InvalidInput(TrainerError):
    """A wrong argument, recipe, manifest or folder."""

    exit_code = 2


class BudgetTooSmall(TrainerError):
    """The key cannot pay for what is missing, or not before its budget's next window."""

    exit_code = 3


class ServiceRefused(TrainerError):
    """The teacher cannot be reached, or refused for good."""

    exit_code = 4


class RevisionChanged(TrainerError):
    """The teacher is no longer the one whose descriptors were bought."""

    exit_code = 5


class StorageFailed(TrainerError):
    """The disk is full, or the run folder is damaged; what was committed is safe."""

    exit_code = 6


class VerificationFailed(TrainerError):
    """A receipt, chain or certificate does not hold."""

    exit_code = 7


class TrainingFailed(TrainerError):
    """A loss or gradient is not finite, or training cannot continue."""

    exit_code = 8


class Interrupted(TrainerError):
    """Stopped by the user, or the cost not agreed to; the same command continues."""

    exit_code = INTERRUPTED
