"""The rank distillation loss with mixed descriptors (Algorithm 1).

In: a batch's descriptors by student and teacher, partners and the mixing coefficient. Out: a scalar,
differentiable in the student's descriptors.
"""

from torch import Tensor

from student_trainer.distil.average_precision import Bins
from student_trainer.distil.descriptors import full_precision
from student_trainer.distil.rank_loss.backends import pick_backend
from student_trainer.distil.rank_loss.problem import (
    RankProblem,
    check_lam,
    check_partners,
    check_tau,
    unit_pair,
)


def rank_distillation_loss(  # noqa: PLR0917 (the public signature)
    student: Tensor,
    teacher: Tensor,
    partners: Tensor,
    lam: float,
    tau: float = 0.75,
    bins: int = 20,
    low: float = -1.0,
    high: float = 1.0,
    label_mixed: bool = True,
    include_self: bool = True,
    grad_through_mixed: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Mean over R rounds and 2B queries of 1 - AP, in the joint set of B images and their B mixtures.

    Args:
        student: [B, d]; need not be normalised. The loss is differentiable (once) in these only.
        teacher: [B, D], any D; row i is of the same image.
        partners: long [R, B]; in round r, image k is mixed with image ``partners[r, k]``.
        lam: the share of image k in its mixtures, in [0, 1].
        tau: what the teacher finds more similar than this is a positive.
        bins: C, centres of the quantised AP on [``low``, ``high``].
        label_mixed: mixtures inherit their parents' positives (mixup labelling).
        include_self: a query stands in its own list and positive set. Without it, a mixture is positive to
            its parents only if the teacher says so.
        grad_through_mixed: let gradient flow into the parents of a mixture too (Table 6), instead of
            treating mixtures as fixed points to be ranked against (line 10).
        backend: "reference" is dense and for tests; "torch" runs on every device; "cpu" is compiled at its
            first call, which takes some seconds once; "triton" is for GPUs. "auto" takes "cpu" or "triton"
            where the descriptors are and these are installed, otherwise "torch".

    Returns:
        A scalar of the student's type (float32 for half precisions). A batch of one image has loss 0.

    Raises:
        InvalidInput: shapes or settings that do not fit.
        BadDescriptors: a descriptor is zero or not finite, or a mixture cancels out; names the row.
    """
    check_lam(lam)
    check_tau(tau)
    student, teacher = unit_pair(student, teacher)
    check_partners(partners, len(student))
    problem = RankProblem(
        student=student,
        teacher=teacher,
        partners=partners.to(student.device),
        lam=float(lam),
        tau=tau,
        bins=Bins(bins, low, high),
        label_mixed=label_mixed,
        include_self=include_self,
        grad_through_mixed=grad_through_mixed,
    )
    with full_precision(student.device):
        return pick_backend(backend)(problem)
