"""What an interrupted training continues from: one file, replaced in one move.

In: the state of a training. Out: ``checkpoints/last.pt``, or the state as it was, or a refusal if the
recipe or the images and descriptors are not those that it was trained with.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch

from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.recipe import Recipe

FORMAT = "ration-training/1"
_FILE = "last.pt"


@dataclass(frozen=True)
class Checkpoint:
    """The state after ``step`` steps. All randomness is a function of (seed, epoch) or (seed, step), so
    the number of steps is the whole state of the random generators."""

    step: int
    total_steps: int
    recipe_digest: str
    recipe: str
    """The recipe as JSON, to say what has changed."""
    data_digest: str
    student: dict[str, Any]
    """State dict."""
    optimiser: dict[str, Any]
    averaging: dict[str, Any]
    epoch_losses: list[float]
    """Losses of the steps of the epoch that is under way."""
    mined: dict[str, Any] | None = None
    """Tuples of the epoch that is under way: they followed from weights that are not kept."""
    head: dict[str, Any] | None = None
    """State dict of what the objective learns of its own, and the mean of its weights."""
    images: int | None = None
    """Learned from: those that could be decoded, without those held back. None in older files."""
    format: str = FORMAT

    @property
    def finished(self) -> bool:
        """No step is left."""
        return self.step == self.total_steps

    def save(self, folder: Path) -> None:
        """Write it; a crash at any moment leaves the old checkpoint or the new one.

        Raises:
            StorageFailed: it cannot be written; the old one is still there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{_FILE}.part"
        try:
            with partial.open("wb") as file:
                torch.save(vars(self), file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(folder / _FILE)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            partial.unlink(missing_ok=True)
            raise StorageFailed(
                f"Cannot write the checkpoint {folder / _FILE} ({error}). The one before it is safe: "
                "make room and run the same command again."
            ) from None

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint | None":
        """The checkpoint, or None if there is none.

        Raises:
            StorageFailed: the file is damaged.
        """
        path = folder / _FILE
        if not path.exists():
            return None
        try:
            with ZipFile(path) as archive:
                damaged = archive.testzip()  # torch does not look at the sums that it writes
            if damaged is not None:
                raise ValueError(f"{damaged} is damaged in it")
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
            return cls(**content)
        # The unpickler meets damaged bytes with anything from EOFError to KeyError.
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StorageFailed(
                f"The checkpoint {path} cannot be read ({reason}). Start over with --restart."
            ) from None

    def check_continues(self, recipe: Recipe, data_digest: str) -> None:
        """Refuse to continue with another recipe or other data.

        Raises:
            InvalidInput: says what has changed.
        """
        if self.recipe_digest != recipe.digest():
            raise InvalidInput(
                f"This run was trained with another recipe for {self.step:,} of {self.total_steps:,} steps: "
                f"{'; '.join(_changes(self.recipe, recipe))}. Take the old recipe (recipe.toml in the run "
                "folder), another run folder, or --restart to train from the beginning."
            )
        if self.data_digest != data_digest:
            raise InvalidInput(
                f"The training images, descriptors or labels have changed since this run was trained for "
                f"{self.step:,} of {self.total_steps:,} steps. Train from the beginning with --restart."
            )


def _changes(before: str, recipe: Recipe) -> list[str]:
    old, new = _flat(json.loads(before)), _flat(recipe.model_dump(mode="json"))
    return [
        f"{key} was {old.get(key, 'not set')!r} and is {new.get(key, 'not set')!r}"
        for key in sorted(old | new)
        if old.get(key) != new.get(key)
    ]


def _flat(document: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, keys in document.items() for key, value in keys.items()}
