"""Asking a teacher's database with a student's queries: the better network describes the database, once.

In: both networks and the run folder. Out: how the student's descriptors become comparable with the teacher's,
or a refusal. A student that learned to rank keeps its own coordinates, even where its descriptors are as long
as the teacher's: what brings it into the teacher's space is a linear map, learned from the descriptors that
were bought. No query is spent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.checkpoints import weights_digest
from shared.learned_whitening import LearnedWhitening
from shared.tensor_files import CheckpointError
from shared.vectors import Float32Rows
from shared.whitening_files import SINGLE_SCALE, load_learned_whitenings, save_learned_whitenings
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate.describing import Describer
from student_trainer.run_folder import RunFolder

RIDGE = 0.01
"""Weight of the penalty, relative to the mean variance of the student's dimensions."""


@dataclass(frozen=True)
class Bridge:
    """From the student's space into the teacher's."""

    words: str
    projection: LearnedWhitening | None
    """None where the student lives in the teacher's space by itself."""

    def apply(self, rows: Float32Rows) -> Float32Rows:
        """float32 [n, student's dim] -> [n, teacher's dim], unit rows."""
        return rows if self.projection is None else self.projection.apply(rows)


def learn_projection(
    student: NDArray[np.floating], teacher: NDArray[np.floating], ridge: float = RIDGE
) -> LearnedWhitening:
    """The linear map P with the least sum of |P s - t|^2 over the images, plus a ridge; no mean is taken off.

    Args:
        student: float [n, d], descriptors of some images.
        teacher: float [n, D], of the same images.
        ridge: relative to the mean variance of the student's dimensions; keeps few images from being learned
            by heart.

    Raises:
        ValueError: no images, or numbers of them that differ.
    """
    if not len(student) or len(student) != len(teacher):
        raise ValueError(f"{len(student)} student and {len(teacher)} teacher descriptors are no pairs.")
    wide = student.astype(np.float64)
    moment = wide.T @ wide
    moment += ridge * np.trace(moment) / len(moment) * np.eye(len(moment))
    projection = np.linalg.solve(moment, wide.T @ teacher.astype(np.float64)).T
    return LearnedWhitening(np.zeros(student.shape[1]), projection.astype(np.float64))


def bridge(run: RunFolder, student: Describer, teacher_dim: int) -> Bridge:
    """How this student's queries reach a database of ``teacher_dim`` dimensions.

    A map that was saved for these very weights, or else one that is learned from what the run bought, and
    saved. Without bought descriptors the student's own descriptors, if they are as long as the teacher's.

    Raises:
        InvalidInput: nothing was bought and the dimensions differ, bought descriptors are not those of this
            teacher, or an image cannot be read.
        StorageFailed: the map cannot be saved.
    """
    digest = weights_digest(student.network)
    saved = _saved(run, digest, teacher_dim)
    if saved is not None:
        return Bridge(f"a linear map that was saved in {run.projection.name}", saved)
    if run.transfer_set.is_file():
        return _learned(run, student, digest, teacher_dim)
    if student.network.dim == teacher_dim:
        return Bridge("the student's own descriptors, taken to be in the teacher's space", None)
    raise InvalidInput(
        f"--asymmetric compares the student's descriptors with the teacher's, but the student's have "
        f"{student.network.dim:,} dimensions and the teacher's {teacher_dim:,}. {run.transfer_set} is not "
        "there, from which a map between them could be learned: evaluate in the run folder that bought the "
        "descriptors."
    )


def _learned(run: RunFolder, student: Describer, digest: str, teacher_dim: int) -> Bridge:
    with TransferSet.open(run.transfer_set) as transfer_set:
        bought = transfer_set.bought()
    if not len(bought.vectors) or bought.vectors.shape[1] != teacher_dim:
        raise InvalidInput(
            f"--asymmetric: {run.transfer_set} holds {len(bought.vectors):,} descriptors of "
            f"{bought.vectors.shape[1]:,} dimensions, the teacher's have {teacher_dim:,}: it is not the "
            "teacher that the student learned from."
        )
    rows = student.rows(bought.paths)
    projection = learn_projection(rows, bought.vectors)
    cosine = float((projection.apply(rows) * bought.vectors).sum(axis=1).mean())
    try:
        save_learned_whitenings(run.projection, {digest: {SINGLE_SCALE: projection}})
    except OSError as error:
        raise StorageFailed(f"{run.projection} cannot be written: {error}.") from None
    return Bridge(
        f"a linear map learned from {len(rows):,} bought descriptors, mean cosine {cosine:.3f} to them",
        projection,
    )


def _saved(run: RunFolder, digest: str, teacher_dim: int) -> LearnedWhitening | None:
    """The map that belongs to these weights; one of an older student does not count."""
    if not run.projection.is_file():
        return None
    try:
        kinds = load_learned_whitenings(run.projection).get(digest, {})
    except CheckpointError as error:
        raise InvalidInput(f"--asymmetric: {error} Delete it: it is learned again.") from None
    found = kinds.get(SINGLE_SCALE)
    return found if found is not None and len(found.projection) == teacher_dim else None
