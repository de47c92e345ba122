"""Asking a teacher's database with a student's queries: the better network describes the database, once.

In: both networks and the run folder. Out: how the student's descriptors become comparable with the teacher's,
or a refusal. A student that learned to rank keeps its own coordinates, even where its descriptors are as long
as the teacher's: what brings it into the teacher's space is a linear map, learned from the descriptors that
were bought. No query is spent.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.checkpoints import weights_digest
from shared.learned_whitening import LearnedWhitening
from shared.vectors import Float32Rows
from student_trainer.acquire.records import Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import InvalidInput
from student_trainer.evaluate import stated
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


def bridge(run: RunFolder, student: Describer, teacher: Describer | None, teacher_dim: int) -> Bridge:
    """How this student's queries reach a database of ``teacher_dim`` dimensions.

    A map that is learned anew each time from what the run bought: it depends on the student, its scales and
    image size and on nothing that was evaluated before. The student's descriptors are kept like any other.
    Without bought descriptors the student's own, if they are as long as the teacher's.

    Args:
        run: where the transfer set is.
        student: as it looks at the queries.
        teacher: the one that describes the database; None where it is an API, whose revision is compared with
            the transfer set's before it is asked.
        teacher_dim: of the database's descriptors.

    Raises:
        InvalidInput: nothing was bought and the dimensions differ, bought descriptors are not those of this
            teacher, or an image cannot be read.
        StorageFailed: descriptors cannot be kept.
    """
    if run.transfer_set.is_file():
        return _learned(run.transfer_set, student, teacher, teacher_dim)
    if student.network.dim == teacher_dim:
        return Bridge("the student's own descriptors, taken to be in the teacher's space", None)
    raise InvalidInput(
        f"--asymmetric compares the student's descriptors with the teacher's, but the student's have "
        f"{student.network.dim:,} dimensions and the teacher's {teacher_dim:,}. {run.transfer_set} is not "
        "there, from which a map between them could be learned: evaluate in the run folder that bought the "
        "descriptors."
    )


def _learned(path: Path, student: Describer, teacher: Describer | None, teacher_dim: int) -> Bridge:
    with TransferSet.open(path) as transfer_set:
        bought, seller = transfer_set.bought(), transfer_set.teacher
    if seller is None or not len(bought.vectors) or bought.vectors.shape[1] != teacher_dim:
        raise InvalidInput(
            f"--asymmetric: {path} holds {len(bought.vectors):,} descriptors of "
            f"{bought.vectors.shape[1]:,} dimensions, the teacher's have {teacher_dim:,}: it is not the "
            "teacher that the student learned from."
        )
    origin = "" if teacher is None else _compared(path, seller, teacher)
    # The student is to see what the teacher saw when it was asked.
    as_bought = replace(student, apply_exif=stated.turns_upright(seller.description))
    rows = as_bought.rows(bought.paths)
    projection = learn_projection(rows, bought.vectors)
    cosine = float((projection.apply(rows) * bought.vectors).sum(axis=1).mean())
    return Bridge(
        f"a linear map learned from {len(rows):,} bought descriptors{origin}, mean cosine {cosine:.3f} to "
        "them",
        projection,
    )


def _compared(path: Path, seller: Teacher, teacher: Describer) -> str:
    """Nothing where the weights are those that the service stated, words where it stated none."""
    sold = stated.weights(seller.description)
    if sold is None:
        return " (their service did not state its weights, so they may be another teacher's)"
    own = weights_digest(teacher.network)
    if sold != own:
        raise InvalidInput(
            f"--asymmetric: {path} was bought from a teacher of weights {sold[:12]}, that of --teacher has "
            f"{own[:12]}: no map into its space can be learned from it. Give the teacher that the student "
            "learned from."
        )
    return ""
