"""The teacher's checkpoint that a user names: there, or refused with the place that it comes from.

In: a path. Out: nothing, or a refusal.
"""

from pathlib import Path

from shared.public_networks import require_public_file
from shared.tensor_files import CheckpointError
from student_trainer.errors import InvalidInput


def require_teacher(checkpoint: Path) -> None:
    """Refuse a teacher that is not there.

    Raises:
        InvalidInput: there is no file; of a published network the message says where to download it.
    """
    try:
        require_public_file(checkpoint)
    except CheckpointError as error:
        raise InvalidInput(str(error)) from None
    if not checkpoint.is_file():
        raise InvalidInput(f"There is no teacher checkpoint {checkpoint}.")
