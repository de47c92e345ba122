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

from shared.network import DescriptorNet
from student_trainer.distil.preflight import unfitted_objective
from student_trainer.evaluate.asymmetric.as_trained import AsTrained, as_trained
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


def in_teachers_space(recipe: Recipe) -> bool:
    """Whether the recipe's objective compares the student with the teacher itself."""
    return unfitted_objective(recipe).facts.in_teachers_space


def judge(student: DescriptorNet, upbringing: Upbringing, teacher_dim: int | None = None) -> Mark:
    """The mark of a student; ``teacher_dim`` is that of the teacher it stands beside, where there is one."""
    if upbringing.in_teachers_space is None:
        return _unfit(UNTOLD)
    if not upbringing.in_teachers_space:
        return _unfit(f"{upbringing.objective} leaves it in coordinates of its own")
    found = as_trained(student, upbringing.head)
    if found.wrong:
        return _unfit(found.wrong)
    if found.head is None:
        mark = _without_projection(student.dim, upbringing)
    else:
        mark = _with_projection(found, upbringing)
    if mark.fit and teacher_dim not in (None, found.dim):
        return _unfit(
            f"its queries have {found.dim:,} dimensions and this teacher's descriptors {teacher_dim:,}: it "
            "learned from another teacher"
        )
    return mark


def _without_projection(dim: int, upbringing: Upbringing) -> Mark:
    if upbringing.teacher_dim not in (None, dim):
        return _unfit(
            f"its descriptors have {dim:,} dimensions and the teacher's {upbringing.teacher_dim:,}, and the "
            f"projection that {upbringing.objective} trained with it is not there"
        )
    return Mark(fit=True, way=OWN, why=f"{upbringing.objective} trained it in the teacher's space")


def _with_projection(found: AsTrained, upbringing: Upbringing) -> Mark:
    if upbringing.teacher_dim not in (None, found.dim):
        return _unfit(
            f"the projection beside it leads from {found.student_dim:,} to {found.dim:,} dimensions; the "
            f"descriptors that it learned from have {upbringing.teacher_dim:,}"
        )
    return Mark(
        fit=True,
        way=PROJECTION,
        why=f"{upbringing.objective} trained it with a projection to the teacher's {found.dim:,} dimensions",
    )


def _unfit(why: str) -> Mark:
    return Mark(fit=False, way=None, why=why)
