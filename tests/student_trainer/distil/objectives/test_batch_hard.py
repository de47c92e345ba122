"""The batch-hard triplet: against loops over the batch, and on batches that leave nothing to be learned."""

import pytest
import torch
from torch import Tensor

from student_trainer.distil.descriptors import BadDescriptors
from student_trainer.distil.labels import UNLABELLED
from student_trainer.distil.objectives.batch_hard import BatchHardTriplet, batch_hard_triplet
from student_trainer.errors import InvalidInput


def batch(images: int = 12, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(images, 6, dtype=torch.float64, generator=random).requires_grad_()
    return rows, torch.arange(images) % classes


def by_loops(rows: Tensor, labels: list[int], margin: float) -> Tensor:
    """The definition, one anchor after another."""
    units = [row / row.norm() for row in rows]
    losses = []
    for i, anchor in enumerate(units):
        own = [
            (anchor - units[j]).norm() for j in range(len(units)) if j != i and labels[j] == labels[i] != -1
        ]
        others = [
            (anchor - units[j]).norm() for j in range(len(units)) if -1 not in (labels[i], labels[j]) and
            labels[j] != labels[i]
        ]  # fmt: skip
        if own and others:
            losses.append(torch.relu(max(own) - min(others) + margin))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("margin", [0.0, 0.3])
@pytest.mark.parametrize(
    "labels",
    [[0, 1, 2] * 4, [0, 0, 0, 1, 1, -1, -1, 2, 3, 3, -1, 1], [5, 5, 5, 5, 9, -1, -1, -1, 9, 9, 7, 8]],
)
def test_value_and_gradient_are_those_of_loops_over_anchors(labels: list[int], margin: float) -> None:
    rows, _ = batch()
    loss, expected = batch_hard_triplet(rows, torch.tensor(labels), margin), by_loops(rows, labels, margin)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert loss.item() > 0
    torch.testing.assert_close(*(torch.autograd.grad(value, rows)[0] for value in (loss, expected)))


def test_its_gradient_passes_gradcheck() -> None:
    rows, labels = batch(9)
    assert torch.autograd.gradcheck(lambda x: batch_hard_triplet(x, labels, 0.2), (rows,))


def test_in_float32_it_agrees_with_float64() -> None:
    rows, labels = batch(32, 4)
    assert batch_hard_triplet(rows.float(), labels).item() == pytest.approx(
        batch_hard_triplet(rows, labels).item(), rel=1e-5
    )


def test_separate_classes_have_no_loss() -> None:
    rows = torch.eye(6, dtype=torch.float64)[[0, 0, 1, 1]]
    assert batch_hard_triplet(rows, torch.tensor([0, 0, 1, 1])).item() == 0


@pytest.mark.parametrize(
    "labels", [[0, 0, 0, 0], [0, 1, 2, 3], [UNLABELLED] * 4, [UNLABELLED, UNLABELLED, 0, 0]]
)
def test_without_a_positive_or_without_a_negative_the_loss_is_0_with_gradient_0(labels: list[int]) -> None:
    rows, _ = batch(4)
    loss = batch_hard_triplet(rows, torch.tensor(labels), 0.5)
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, rows)[0].any()


def test_an_image_alone_with_its_label_pushes_others_and_is_no_anchor() -> None:
    rows, _ = batch(3)
    labels = torch.tensor([0, 0, 1])
    loss = batch_hard_triplet(rows, labels, 2.0)
    (gradient,) = torch.autograd.grad(loss, rows)
    assert loss.item() == pytest.approx(by_loops(rows, labels.tolist(), 2.0).item())
    assert gradient[2].any()


def test_one_image_has_loss_0() -> None:
    rows, labels = batch(1)
    assert batch_hard_triplet(rows, labels).item() == 0


def test_equal_images_cost_the_margin_and_move_nothing() -> None:
    rows = torch.ones(6, 4, requires_grad=True)
    loss = batch_hard_triplet(rows, torch.tensor([0, 0, 0, 1, 1, 1]), 0.25)
    assert loss.item() == 0.25
    assert not torch.autograd.grad(loss, rows)[0].any()


def test_a_copy_of_an_image_is_no_harder_than_the_image() -> None:
    rows, labels = batch(8, 2)
    doubled = batch_hard_triplet(torch.cat([rows, rows]), torch.cat([labels, labels]))
    assert doubled.item() == pytest.approx(batch_hard_triplet(rows, labels).item(), rel=1e-9)


def test_a_descriptor_without_direction_is_named() -> None:
    rows = torch.randn(4, 3)
    rows[2] = 0
    with pytest.raises(BadDescriptors, match="row 2"):
        batch_hard_triplet(rows, torch.tensor([0, 0, 1, 1]))


@pytest.mark.parametrize("margin", [-0.1, 2.1, float("nan")])
def test_a_margin_that_no_descriptors_can_keep_is_refused(margin: float) -> None:
    with pytest.raises(InvalidInput, match="take a distance from 0 to 2"):
        BatchHardTriplet(margin=margin)


@pytest.mark.parametrize("labels", [None, torch.zeros(3, dtype=torch.long), torch.zeros(4)])
def test_missing_labels_or_such_as_do_not_fit_are_refused(labels: Tensor | None) -> None:
    with pytest.raises(InvalidInput, match=r"batch-hard-triplet needs labels, long \[4\]"):
        BatchHardTriplet()(torch.randn(4, 3), None, labels)
