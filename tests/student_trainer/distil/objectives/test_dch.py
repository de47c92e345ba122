"""Deep Cauchy hashing against its definition, pair by pair, and on batches that leave little to learn."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from student_trainer.distil import objectives
from student_trainer.distil.objectives.dch import cauchy_hashing
from student_trainer.errors import InvalidInput

LABELS = torch.tensor([0, 1, 0, 2, 1, 0])
SEVERAL = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 1, 1]])


def values(images: int = 6, bits: int = 8, seed: int = 1) -> Tensor:
    return torch.randn(images, bits, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_definition(u: list[list[float]], s: list[list[bool]], gamma: float, weight: float) -> float:
    """The formula in plain Python."""

    def distance(a: list[float], b: list[float]) -> float:
        dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
        cosine = dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
        return len(a) / 2 * (1 - min(cosine, 0.99))

    size = len(u)
    positives = sum(map(sum, s))
    negatives = size * size - positives
    total = 0.0
    for i in range(size):
        for j in range(size):
            w = size * size / (positives if s[i][j] else negatives) if positives and negatives else 1.0
            d = distance(u[i], u[j])
            total += w * (s[i][j] * math.log(d / gamma) + math.log(1 + gamma / d))
    one = [1.0] * len(u[0])
    to_ones = math.fsum(math.log(1 + distance([abs(x) for x in row], one) / gamma) for row in u)
    return total / size**2 + weight * to_ones / size


@pytest.mark.parametrize(("gamma", "weight"), [(20.0, 0.1), (5.0, 0.0), (1.0, 3.0)])
@pytest.mark.parametrize("labels", [LABELS, SEVERAL, torch.arange(6), torch.zeros(6, dtype=torch.long)])
def test_it_is_its_definition(labels: Tensor, gamma: float, weight: float) -> None:
    u = values()
    if labels.ndim == 1:
        similar = [[bool(a == b) for b in labels] for a in labels]
    else:
        similar = [[any(x and y for x, y in zip(a, b, strict=True)) for b in labels] for a in labels.tolist()]
    found = cauchy_hashing(u, torch.tensor(similar), gamma, weight)
    assert found.item() == pytest.approx(by_definition(u.tolist(), similar, gamma, weight), rel=1e-12)


@settings(max_examples=25)
@given(st.integers(1, 7), st.integers(2, 33), st.integers(0, 1000))
def test_it_is_its_definition_for_any_size(images: int, bits: int, seed: int) -> None:
    u = values(images, bits, seed)
    labels = torch.randint(0, 3, (images,), generator=torch.Generator().manual_seed(seed))
    similar = [[bool(a == b) for b in labels] for a in labels]
    found = cauchy_hashing(u, torch.tensor(similar))
    assert found.item() == pytest.approx(by_definition(u.tolist(), similar, 20.0, 0.1), rel=1e-12)


def test_its_gradient_passes_gradcheck_through_the_hash_layer() -> None:
    objective = objectives.get("dch")(bits=5)
    student = values(6, 4).requires_grad_()
    objective(student, None, LABELS)  # makes the layer
    weights = tuple(objective.head.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: objective(x, None, LABELS), (student, *weights))


def test_labels_are_compared_one_by_one_or_by_any_in_common() -> None:
    objective = objectives.get("dch")(bits=16)
    student = values(6, 4)
    one_hot = torch.eye(3, dtype=torch.long)[LABELS]
    assert objective(student, None, LABELS).item() == pytest.approx(objective(student, None, one_hot).item())
    assert objective(student, None, SEVERAL).item() != pytest.approx(objective(student, None, one_hot).item())


def test_following_the_gradient_brings_images_of_a_label_together() -> None:
    objective = objectives.get("dch")(bits=16)
    student = values(6, 8).requires_grad_()
    optimiser = torch.optim.Adam([student], lr=0.05)
    first = objective(student, None, LABELS).item()
    for _ in range(60):
        optimiser.zero_grad()
        objective(student, None, LABELS).backward()
        optimiser.step()
    assert objective(student, None, LABELS).item() < first - 0.5
    codes = objective.hash_values(student) > 0
    distances = (codes[:, None] != codes[None]).sum(dim=2)
    same = LABELS[:, None] == LABELS[None]
    assert distances[same].max() < distances[~same].min()


def test_images_without_a_label_are_left_out() -> None:
    objective = objectives.get("dch")(bits=16)
    student = values(8, 4).requires_grad_()
    with_some = torch.cat([LABELS, torch.tensor([-1, -1])])
    loss = objective(student, None, with_some)
    assert loss.item() == pytest.approx(objective(student[:6], None, LABELS).item())
    (gradient,) = torch.autograd.grad(loss, student)
    assert not gradient[6:].any() and gradient[:6].any(dim=1).all()
    bare = torch.cat([SEVERAL, torch.zeros(2, 3, dtype=torch.long)])
    assert objective(student, None, bare).item() == pytest.approx(
        objective(student[:6], None, SEVERAL).item()
    )


def test_a_batch_without_labels_has_loss_zero_and_no_gradient() -> None:
    student = values(3, 4).requires_grad_()
    loss = objectives.get("dch")()(student, None, torch.full((3,), -1))
    assert loss.item() == 0.0
    assert not torch.autograd.grad(loss, student)[0].any()


@pytest.mark.parametrize("labels", [torch.tensor([4]), torch.zeros(5, dtype=torch.long), torch.arange(5)])
def test_one_image_and_equal_images_give_finite_numbers(labels: Tensor) -> None:
    """Equal codes are as near as any can be: no pair pulls, and only the second term is left."""
    student = values(1, 4).expand(len(labels), 4).clone().requires_grad_()
    objective = objectives.get("dch")(quantisation=0.0)
    loss = objective(student, None, labels)
    (gradient,) = torch.autograd.grad(loss, student)
    assert torch.isfinite(loss)
    assert not gradient.any()


def test_its_settings_are_the_published_ones() -> None:
    objective = objectives.get("dch")()
    assert (objective.bits, objective.gamma, objective.quantisation) == (48, 20.0, 0.1)
    assert (objective.needs_labels, objective.needs_teacher, objective.facts.in_teachers_space) == (
        True,
        False,
        False,
    )


@pytest.mark.parametrize(
    "wrong", [{"gamma": 0.0}, {"gamma": math.nan}, {"quantisation": -0.1}, {"bits": 3}, {"bits": 9999}]
)
def test_a_setting_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match=f"{next(iter(wrong))} = "):
        objectives.get("dch")(**wrong)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "dch needs labels, long .6. or multi-hot .6, classes., but got none"),
        (torch.zeros(6), "type torch.float32"),
        (torch.zeros(5, dtype=torch.long), r"shape \[5\]"),
        (torch.full((6, 3), 2), "from 2 to 2.*zeros and ones"),
        (torch.full((6,), -2), "from -2 to -2.*count from 0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Tensor | None, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        objectives.get("dch")()(values(6, 4), None, labels)
