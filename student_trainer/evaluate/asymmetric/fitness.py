"""Whether a student is fit to ask its teacher's database, and why.

In: what the run folder says of its training. Out: a mark. Fit is a student whose objective compared it with
the teacher itself, not with the teacher's rankings or distances, where both are as long, or where the
projection that was trained with it is there. Any other keeps coordinates of its own, even where its
descriptors are as long as the teacher's.

Source: Budnik and Avrithis, "Asymmetric metric learning for knowledge transfer" (2020): absolute losses work
in asymmetric search, relational ones fail.
"""

from dataclasses import dataclass
from pathlib import Path

from shared.checkpoints import weights_digest
from shared.network import DescriptorNet
from shared.tensor_files import CheckpointError
from student_trainer.distil.heads import SavedHead, read_head
from student_trainer.distil.preflight import unfitted_objective
from student_trainer.evaluate.asymmetric.mark import OWN, PROJECTION, Mark
from student_trainer.recipe import Recipe

UNTOLD = "its run folder does not say what it was trained with"
NOT_YET = Mark(fit=False, way=None, why="it has not learned from the teacher yet")


@dataclass(frozen=True)
class Upbringing:
    """How a student was trained, as far as its run folder says."""

    objective: str | None = None
    in_teachers_space: bool | None = None
    """Whether its objective compares it with the teacher itself; None where no recipe says."""
    head: Path | None = None
    """Where the projection would be that was trained with it."""
    teacher_dim: int | None = None
    """Of the descriptors that it learned from; None where they are not at hand."""

    def saved_head(self) -> SavedHead | None:
        """What was learned beside the student; None where nothing was.

        Raises:
            CheckpointError: the file is damaged.
        """
        return None if self.head is None or not self.head.is_file() else read_head(self.head)


def in_teachers_space(recipe: Recipe) -> bool:
    """Whether the recipe's objective compares the student with the teacher itself."""
    return bool(getattr(unfitted_objective(recipe), "in_teachers_space", False))


def judge(student: DescriptorNet, upbringing: Upbringing) -> Mark:
    """The mark of a student."""
    if upbringing.in_teachers_space is None:
        return _unfit(UNTOLD)
    if not upbringing.in_teachers_space:
        return _unfit(f"{upbringing.objective} leaves it in coordinates of its own")
    try:
        saved = upbringing.saved_head()
    except CheckpointError as error:
        return _unfit(f"what was trained with it cannot be read: {error}")
    if saved is None or saved.head.kind != "projection":
        return _without_projection(student.dim, upbringing)
    return _with_projection(student, saved, upbringing)


def _without_projection(dim: int, upbringing: Upbringing) -> Mark:
    if upbringing.teacher_dim not in (None, dim):
        return _unfit(
            f"its descriptors have {dim:,} dimensions and the teacher's {upbringing.teacher_dim:,}, and the "
            f"projection that {upbringing.objective} trained with it is not there"
        )
    return Mark(fit=True, way=OWN, why=f"{upbringing.objective} trained it in the teacher's space")


def _with_projection(student: DescriptorNet, saved: SavedHead, upbringing: Upbringing) -> Mark:
    if saved.student_digest != weights_digest(student):
        return _unfit("the projection beside it was trained with another student")
    if saved.head.in_dim != student.dim or upbringing.teacher_dim not in (None, saved.head.out_dim):
        return _unfit(
            f"the projection beside it leads from {saved.head.in_dim:,} to {saved.head.out_dim:,} "
            f"dimensions; its descriptors have {student.dim:,}, those that it learned from "
            f"{upbringing.teacher_dim or saved.head.out_dim:,}"
        )
    return Mark(
        fit=True,
        way=PROJECTION,
        why=f"{upbringing.objective} trained it with a projection to the teacher's {saved.head.out_dim:,} "
        "dimensions",
    )


def _unfit(why: str) -> Mark:
    return Mark(fit=False, way=None, why=why)
