"""How a student's queries become comparable with a teacher's database, or why they do not.

In: both networks, the student's mark and the run folder. Out: the ways across. A student that was trained in
the teacher's space asks as it was trained: with its own descriptors, or through its projection. Any student
can ask through a linear map that is learned afterwards from the descriptors that were bought; no query is
spent.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from shared.checkpoints import weights_digest
from shared.learned_map import held_back_cosine, learn_projection
from shared.learned_whitening import LearnedWhitening
from shared.vectors import Float32Rows
from student_trainer.acquire.records import Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.distil.images import SourceImage, require_unchanged
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asymmetric.as_trained import as_trained
from student_trainer.evaluate.asymmetric.fitness import Upbringing
from student_trainer.evaluate.asymmetric.mark import MAPPED, OWN, PROJECTION, Mark, Way
from student_trainer.evaluate.benchmark import stated
from student_trainer.evaluate.describing import Describer
from student_trainer.evaluate.document import ASYMMETRIC, ASYMMETRIC_MAPPED, BridgeFit
from student_trainer.run_folder import RunFolder

ENOUGH_PAIRS = 4
"""Per dimension of the student; a map learned from fewer is warned of."""


@dataclass(frozen=True)
class Bridge:
    """From the student's space into the teacher's."""

    way: Way
    more: str
    """What else is to be said of it."""
    projection: LearnedWhitening | None = None
    """None where the student lives in the teacher's space by itself."""
    fit: BridgeFit | None = None
    """How well a map learned afterwards does on images that it was not learned from."""

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.way}, {self.more}"

    def apply(self, rows: Float32Rows) -> Float32Rows:
        """float32 [n, student's dim] -> [n, teacher's dim], unit rows."""
        return rows if self.projection is None else self.projection.apply(rows)


def pairs_of(run: RunFolder) -> int:
    """Bought images that the student has to describe for :func:`bridges`.

    Raises:
        InvalidInput: it is not a transfer set.
        StorageFailed: it is damaged.
    """
    if not run.transfer_set.is_file():
        return 0
    with TransferSet.open(run.transfer_set) as transfer_set:
        [row] = transfer_set.rows("SELECT COUNT(*) AS bought FROM chosen WHERE vector IS NOT NULL")
    return int(row["bought"])


@dataclass(frozen=True)
class Crossing:
    """A student that is to ask the database of a teacher."""

    run: RunFolder
    """Where the transfer set is."""
    student: Describer
    """As it looks at the queries."""
    mark: Mark
    upbringing: Upbringing
    teacher: Describer | None
    """The one that describes the database; None where it is an API, whose revision is compared with the
    transfer set's before it is asked."""
    teacher_dim: int

    def bridges(self) -> dict[str, Bridge]:
        """By the name of the line that each is measured in: as it was trained, and by a learned map.

        The map is learned anew each time from what the run bought: it depends on the student, its scales and
        image size and on nothing that was evaluated before. The student's descriptors are kept like any
        other. Where nothing was bought a student that is not known to be fit asks with its own descriptors,
        if they are as long as the teacher's.

        Raises:
            InvalidInput: there is no way across, bought descriptors are not those of this teacher, or an
                image cannot be read or is not the one that was bought.
            StorageFailed: descriptors cannot be kept.
        """
        as_trained = self._as_trained() if self.mark.fit else None
        to_learn_from = self.run.transfer_set.is_file() and (as_trained is None or pairs_of(self.run))
        mapped = self._mapped(self.run.transfer_set) if to_learn_from else None
        if as_trained is not None:
            return {ASYMMETRIC: as_trained} | ({} if mapped is None else {ASYMMETRIC_MAPPED: mapped})
        if mapped is not None:
            return {ASYMMETRIC: mapped}
        if self.student.dim == self.teacher_dim:
            return {ASYMMETRIC: Bridge(OWN, "taken to be in the teacher's space")}
        raise InvalidInput(
            f"--asymmetric compares the student's descriptors with the teacher's, but the student's have "
            f"{self.student.dim:,} dimensions and the teacher's {self.teacher_dim:,}. "
            f"{self.run.transfer_set} is not there, from which a map between them could be learned: "
            "name the run that bought the descriptors with --transfer-set RUN."
        )

    def _as_trained(self) -> Bridge:
        found = as_trained(self.student.network, self.upbringing.head)
        if found.dim != self.teacher_dim:
            raise InvalidInput(
                f"--asymmetric: the student was trained in a space of {found.dim:,} dimensions, and this "
                f"teacher's descriptors have {self.teacher_dim:,}. Give the teacher that the student learned "
                "from."
            )
        if found.projection is None:
            return Bridge(OWN, f"since {self.mark.why}")
        words = f"{self.student.dim:,} to {found.dim:,} dimensions, trained with it"
        return Bridge(PROJECTION, words, found.projection)

    def _mapped(self, path: Path) -> Bridge:
        with TransferSet.open(path) as transfer_set:
            bought, seller = transfer_set.bought(), transfer_set.teacher
        if seller is None or not len(bought.vectors) or bought.vectors.shape[1] != self.teacher_dim:
            raise InvalidInput(
                f"--asymmetric: {path} holds {len(bought.vectors):,} descriptors of "
                f"{bought.vectors.shape[1]:,} dimensions, the teacher's have {self.teacher_dim:,}: it is not "
                "the teacher that the student learned from."
            )
        origin = "" if self.teacher is None else _compared(path, seller, self.teacher)
        require_unchanged(map(SourceImage, bought.paths, bought.images))
        # The student is to see what the teacher saw when it was asked.
        as_bought = replace(self.student, apply_exif=stated.turns_upright(seller.description))
        rows = as_bought.rows(bought.paths)
        held_back, cosine = held_back_cosine(rows, bought.vectors)
        fit = BridgeFit(pairs=len(rows), held_back=held_back, held_back_cosine=cosine)
        more = f"linear, from {fit.pairs:,} bought descriptors{origin}, {_judged(fit)}"
        projection = learn_projection(rows, bought.vectors)
        return Bridge(MAPPED, more + _if_few(fit.pairs, self.student.dim), projection, fit)


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
