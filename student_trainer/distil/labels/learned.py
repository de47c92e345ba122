"""Which labels and images a student learned from, written down beside it when its training begins.

In: the data of a training, and the student that it starts from. Out: ``RUN/learned_labels.json`` and
``RUN/learned_images.json`` (:mod:`student_trainer.distil.lineage.learned`).
"""

import numpy as np

from student_trainer.distil.data import TrainingData
from student_trainer.distil.labels import UNLABELLED
from student_trainer.distil.lineage.learned import IMAGES, LABELS, Learned, keep, read
from student_trainer.distil.lineage.start import Start
from student_trainer.errors import InvalidInput
from student_trainer.run_folder import RunFolder

_NAMED = 3


def learned_labels(data: TrainingData) -> tuple[str, ...] | None:
    """The names of the labels that some image has, in ascending order; None where no names are known."""
    if data.labels is None or data.label_names is None:
        return None
    if data.labels.ndim > 1:
        present = np.flatnonzero((data.labels > 0).any(axis=0))
    else:
        present = np.setdiff1d(data.labels, [UNLABELLED])
    return tuple(data.label_names[number] for number in present.tolist())


def keep_learned(run: RunFolder, data: TrainingData, start: Start | None, *, continued: bool) -> None:
    """Write down what is learned from; without labels, in this training and before, there is no file of them.

    Raises:
        InvalidInput: a training is continued whose labels had other names, or its list cannot be read.
        OSError: the folder cannot be written, or is full.
    """
    names = learned_labels(data)
    if continued:
        _check_names(run, names or ())
    if names is None and start is None:
        run.learned_labels.unlink(missing_ok=True)
    else:
        keep(run.learned_labels, LABELS, Learned(names or (), start.labels if start else None))
    digests = tuple(sorted({image.digest for image in data.images}))
    keep(run.learned_images, IMAGES, Learned(digests, start.images if start else None))


def _check_names(run: RunFolder, names: tuple[str, ...]) -> None:
    """A training is bound to its class numbers, and these to their names."""
    before = read(run.learned_labels, LABELS)
    if before is None or before.own == names:
        return
    now, then = (
        f"{len(some):,} ({', '.join(some[:_NAMED])}{', ...' if some[_NAMED:] else ''})"
        for some in (names, before.own)
    )
    raise InvalidInput(
        f"The training in {run.root} began with other names of labels: {then}, and now {now}. Give them "
        "their names again, or train from the beginning with --restart."
    )
