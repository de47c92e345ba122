"""The contrastive objective is the sum of its tuples' losses, and takes whole tuples only."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from student_trainer.distil import objectives
from student_trainer.distil.descriptors import BadDescriptors
from student_trainer.distil.objectives import mining_of
from student_trainer.distil.objectives.contrastive import Contrastive
from student_trainer.distil.objectives.tuples import contrastive
from student_trainer.distil.tuples.draws import Mining
from student_trainer.errors import InvalidInput

LABELS = torch.tensor([0, 0, 1, 2, 3, 3, 0, 4])
"""Two tuples of an anchor, a positive and two negatives."""


def batch() -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randn(8, 5, dtype=torch.float64, generator=random).requires_grad_()


def test_it_is_found_by_name_with_the_settings_of_its_source() -> None:
    kind = objectives.get("contrastive")
    settings = {name: p.default for name, p in inspect.signature(kind).parameters.items()}
    assert settings == {"margin": 0.7, "negatives": 5, "anchors_per_epoch": 2000, "pool_images": 22_000}
    objective = kind()
    assert (objective.name, objective.needs_labels, objective.needs_teacher) == ("contrastive", True, False)
    assert mining_of(objective) == Mining(5, 2000, 22_000)


@pytest.mark.parametrize("name", ["rank-mixup", "rank", "ap"])
def test_the_objectives_of_whole_batches_mine_nothing(name: str) -> None:
    assert mining_of(objectives.get(name)()) is None


def test_it_is_the_sum_of_the_losses_of_its_tuples_of_unit_descriptors() -> None:
    student = batch()
    found = Contrastive(margin=1.3, negatives=2)(student, None, LABELS)
    units = student / student.norm(dim=1, keepdim=True)
    expected = sum(contrastive(units[n], units[n + 1 : n + 2], units[n + 2 : n + 4], 1.3) for n in (0, 4))
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        *torch.autograd.grad(found, student), *torch.autograd.grad(expected, student), rtol=1e-10, atol=1e-13
    )


def test_it_passes_gradcheck() -> None:
    assert torch.autograd.gradcheck(lambda s: Contrastive(1.3, 2)(s, None, LABELS), [batch()])


def test_a_step_along_the_gradient_lowers_the_loss() -> None:
    student, objective = batch(), Contrastive(margin=1.3, negatives=2)
    loss = objective(student, None, LABELS)
    (gradient,) = torch.autograd.grad(loss, student)
    assert objective(student - 0.1 * gradient / gradient.norm(), None, LABELS) < loss


def test_a_descriptor_without_direction_is_refused_by_row() -> None:
    broken = batch().detach().clone()
    broken[6] = 0.0
    with pytest.raises(BadDescriptors, match="student's descriptor in row 6"):
        Contrastive(negatives=2)(broken, None, LABELS)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "needs labels, but got none"),
        (LABELS[:7], r"there are 8 images, and labels of shape \[7\]"),
        (LABELS.float(), "float32"),
        (torch.tensor([0, 0, 1, 2, 3, 9, 0, 4]), "in tuple 1 .* the second image has another label"),
        (torch.tensor([0, 0, 1, 0, 3, 3, 0, 4]), "in tuple 0 .* a negative has the anchor's label"),
    ],
)
def test_labels_that_make_no_tuples_are_refused(labels: Tensor | None, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Contrastive(negatives=2)(batch(), None, labels)


def test_a_batch_with_a_part_of_a_tuple_is_refused() -> None:
    with pytest.raises(
        InvalidInput, match=r"A batch of tuples is 5 images for each: .*; the batch has 8 images"
    ):
        Contrastive(negatives=3)(batch(), None, LABELS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": 0.0}, r"margin = 0\.0: take a distance above 0 and at most 2"),
        ({"margin": 2.1}, r"margin = 2\.1"),
        ({"margin": float("nan")}, "margin = nan"),
        ({"negatives": 0}, "negatives = 0: take a whole number from 1 up"),
        ({"anchors_per_epoch": 2.5}, r"anchors_per_epoch = 2\.5"),
        ({"pool_images": -1}, "pool_images = -1"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Contrastive(**settings)
