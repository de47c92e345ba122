"""Every objective that needs labels has a defined result where some images, or all, have none."""

import re

import pytest
import torch

from student_trainer.distil.objectives import OBJECTIVES
from student_trainer.errors import InvalidInput

LABELLED = sorted(name for name, kind in OBJECTIVES.items() if kind().needs_labels)
TUPLES = [0, 0, 1, 2, 3, 4, 5, 1, 1, 0, 2, 3, 4, 5]
"""Two tuples of seven, for objectives that learn from these; a batch of fourteen for the others."""


def loss_and_gradient(
    name: str, labels: list[int], images: int = 14, kind: torch.dtype = torch.long
) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    student = torch.randn(14, 16, generator=random, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(14, 16, generator=random, dtype=torch.float64)
    loss = OBJECTIVES[name]()(student[:images], teacher[:images], torch.tensor(labels[:images], dtype=kind))
    return loss, torch.autograd.grad(loss, student)[0]


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("labels", [[-1] * 14, [*TUPLES[:7], *[-1] * 7], TUPLES], ids=["none", "half", "all"])
def test_loss_and_gradient_are_finite_whichever_images_are_labelled(name: str, labels: list[int]) -> None:
    loss, gradient = loss_and_gradient(name, labels)
    assert loss.shape == () and loss.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize("name", LABELLED)
def test_images_without_a_label_teach_nothing_but_to_an_objective_that_says_so(name: str) -> None:
    loss, gradient = loss_and_gradient(name, [-1] * 14)
    learns = OBJECTIVES[name].facts.learns_unlabelled
    assert (loss.item() != 0) is bool(gradient.any()) is learns


@pytest.mark.parametrize("name", LABELLED)
def test_no_number_below_0_but_that_of_no_label_is_trained_on(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{re.escape(name)} got labels from -7 to 5"):
        loss_and_gradient(name, [-7, *TUPLES[1:]])


@pytest.mark.parametrize("name", LABELLED)
def test_a_shorter_whole_type_means_the_same_labels(name: str) -> None:
    loss, gradient = loss_and_gradient(name, TUPLES)
    again, its_gradient = loss_and_gradient(name, TUPLES, kind=torch.int32)
    assert torch.equal(loss, again) and torch.equal(gradient, its_gradient)
