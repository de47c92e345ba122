"""Which labels a student learned from, kept beside it, so that an evaluation knows which classes are new.

In: the data of a training. Out: ``RUN/learned_labels.json``, and later the names in it. The student's own
file does not carry them, because it is passed on and the names of its owner's classes need not be.
"""

import json
import os
from pathlib import Path

import numpy as np

from student_trainer.distil.data import TrainingData
from student_trainer.distil.labels import UNLABELLED
from student_trainer.errors import InvalidInput

FORMAT = "ration-learned-labels/1"


def learned_labels(data: TrainingData) -> tuple[str, ...] | None:
    """The names of the labels that some image has, in ascending order; None where no names are known."""
    if data.labels is None or data.label_names is None:
        return None
    if data.labels.ndim > 1:
        present = np.flatnonzero((data.labels > 0).any(axis=0))
    else:
        present = np.setdiff1d(data.labels, [UNLABELLED])
    return tuple(data.label_names[number] for number in present.tolist())


def keep_learned_labels(path: Path, data: TrainingData) -> None:
    """Write the file, whole or not at all; without labels there is none.

    Raises:
        OSError: the folder cannot be written, or is full.
    """
    names = learned_labels(data)
    if names is None:
        path.unlink(missing_ok=True)
        return
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    unfinished.write_text(json.dumps({"format": FORMAT, "labels": names}, indent=1), encoding="utf-8")
    unfinished.replace(path)


def read_learned_labels(path: Path) -> frozenset[str] | None:
    """The names; None where there is no file, as of a student that learned without labels.

    Raises:
        InvalidInput: it is not such a file.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}. Remove it, or train again.") from None
    labels = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(labels, list) or document.get("format") != FORMAT:
        raise InvalidInput(f"{path} is not of format {FORMAT!r}. Remove it, or train again.")
    return frozenset(map(str, labels))
