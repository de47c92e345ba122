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
from student_trainer.evaluate.benchmark import stated
from student_trainer.evaluate.describing import Describer
from student_trainer.evaluate.document import BridgeFit
from student_trainer.run_folder import RunFolder

RIDGE = 0.01
"""Weight of the penalty, relative to the mean variance of the student's dimensions."""
HELD_BACK_EVERY = 5
"""One image of so many judges a map that was learned from the others."""
ENOUGH_PAIRS = 4
"""Per dimension of the student; a map learned from fewer is warned of."""


@dataclass(frozen=True)
class Bridge:
    """From the student's space into the teacher's."""

    words: str
    projection: LearnedWhitening | None
    """None where the student lives in the teacher's space by itself."""
    fit: BridgeFit | None = None
    """How well the projection does on images that it was not learned from."""

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


def held_back_cosine(
    student: NDArray[np.floating], teacher: NDArray[np.floating]
) -> tuple[int, float | None]:
    """How close a map comes to the teacher on images that it has not seen: every fifth is held back.

    Args:
        student: float [n, d], of images in any order.
        teacher: float [n, D], unit rows of the same images.

    Returns:
        Images held back, and the mean cosine between the student's rows, taken across by the map of the
        other images, and the teacher's; 0 and None for fewer than five images.
    """
    judges = np.arange(len(student)) % HELD_BACK_EVERY == HELD_BACK_EVERY - 1
    if not judges.any():
        return 0, None
    crossed = learn_projection(student[~judges], teacher[~judges]).apply(student[judges].astype(np.float32))
    return int(judges.sum()), float((crossed * teacher[judges]).sum(axis=1).mean())


def pairs_of(run: RunFolder) -> int:
    """Bought images that the student has to describe for :func:`bridge`.

    Raises:
        InvalidInput: it is not a transfer set.
        StorageFailed: it is damaged.
    """
    if not run.transfer_set.is_file():
        return 0
    with TransferSet.open(run.transfer_set) as transfer_set:
        [row] = transfer_set.rows("SELECT COUNT(*) AS bought FROM chosen WHERE vector IS NOT NULL")
    return int(row["bought"])


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
    held_back, cosine = held_back_cosine(rows, bought.vectors)
    fit = BridgeFit(pairs=len(rows), held_back=held_back, held_back_cosine=cosine)
    words = f"a linear map learned from {fit.pairs:,} bought descriptors{origin}, {_judged(fit)}"
    return Bridge(words + _if_few(fit.pairs, student.dim), learn_projection(rows, bought.vectors), fit)


def _judged(fit: BridgeFit) -> str:
    if fit.held_back_cosine is None:
        return "too few to hold any back and judge it by"
    return (
        f"mean cosine {fit.held_back_cosine:.3f} to {fit.held_back:,} of them that were held back from a map "
        "of the others"
    )


def _if_few(pairs: int, dim: int) -> str:
    if pairs >= ENOUGH_PAIRS * dim:
        return ""
    return (
        f"; {pairs:,} pairs are few for the student's {dim:,} dimensions, so the asymmetric scores may be "
        f"poor: buy {ENOUGH_PAIRS * dim:,} or more"
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
