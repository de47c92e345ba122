"""The studies compare with what the product computes: their plain form of the loss is the same loss."""

import pytest
import torch
from torch.nn.functional import normalize

from benchmarks.studies.mixed_labels import MixedLabels
from student_trainer.distil.objectives import get


@pytest.mark.parametrize("alpha", [0.2, 1.0])
@pytest.mark.parametrize(
    ("here", "product"),
    [
        ({}, {}),
        ({"inherit": "none"}, {"label_mixed": False}),
        ({"through": True}, {"grad_through_mixed": True}),
    ],
)
@pytest.mark.parametrize("backend", ["reference", "torch", "cpu"])
def test_the_plain_form_is_the_product_s_loss_and_gradient(
    here: dict[str, object], product: dict[str, bool], alpha: float, backend: str
) -> None:
    random = torch.Generator().manual_seed(0)
    places = torch.randn(12, 64, generator=random, dtype=torch.float64)
    noise = torch.randn(80, 64, generator=random, dtype=torch.float64)
    teacher = normalize(places[torch.arange(80) % 12] + 0.4 * noise, dim=1)
    student = torch.randn(80, 32, generator=random, dtype=torch.float64).requires_grad_()
    plain = MixedLabels(alpha=alpha, seed=3, **here)(student, teacher)  # type: ignore[arg-type]
    settings = {"alpha": alpha, "rounds": 5, "seed": 3, "backend": backend}
    fast = get("rank-mixup")(**settings, **product)(student, teacher)
    assert plain.item() == pytest.approx(fast.item(), rel=1e-6)
    ours, theirs = (torch.autograd.grad(loss, student)[0] for loss in (plain, fast))
    # lambda goes through float32 in the plain form, so a similarity may fall into another bin
    assert (ours - theirs).norm() <= 1e-3 * theirs.norm()


@pytest.mark.parametrize(
    "changes",
    [
        {"inherit": "dominant"},
        {"drawn": "round"},
        {"drawn": "pair"},
        {"queries": "originals"},
        {"lam": 0.5},
    ],
)
def test_a_variant_is_another_loss(changes: dict[str, object]) -> None:
    random = torch.Generator().manual_seed(0)
    teacher = normalize(torch.randn(4, 16, generator=random)[torch.arange(40) % 4], dim=1)
    student = torch.randn(40, 8, generator=random)
    usual, other = MixedLabels(seed=1), MixedLabels(seed=1, **changes)  # type: ignore[arg-type]
    assert usual(student, teacher).item() != pytest.approx(other(student, teacher).item(), rel=1e-4)
