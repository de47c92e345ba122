"""Central similarity quantisation against its definition, its centres, and what it refuses."""

import math

import pytest
import torch
from torch import Tensor

from student_trainer.distil import objectives
from student_trainer.distil.hash_centres import hash_centres
from student_trainer.distil.objectives.csq import central_similarity
from student_trainer.errors import InvalidInput

LABELS = torch.tensor([0, 1, 0, 2, 1, 5])


def values(images: int = 6, bits: int = 8, seed: int = 1) -> Tensor:
    return torch.randn(images, bits, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_definition(u: list[list[float]], centres: list[list[int]], weight: float) -> float:
    crosses, squares = [], []
    for row, centre in zip(u, centres, strict=True):
        for x, c in zip(row, centre, strict=True):
            p = (math.tanh(x) + 1) / 2
            crosses.append(-math.log(p) if c == 1 else -math.log(1 - p))
            squares.append((abs(math.tanh(x)) - 1) ** 2)
    return math.fsum(crosses) / len(crosses) + weight * math.fsum(squares) / len(squares)


@pytest.mark.parametrize("weight", [1e-4, 0.0, 2.0])
def test_it_is_its_definition(weight: float) -> None:
    u, centres = values(), hash_centres(6, 8)[LABELS]
    found = central_similarity(u, centres, weight)
    assert found.item() == pytest.approx(by_definition(u.tolist(), centres.tolist(), weight), rel=1e-12)


def test_of_a_batch_it_is_that_of_the_layers_numbers_and_the_centres_of_the_labels() -> None:
    objective = objectives.get("csq")(bits=8)
    student = values(6, 5)
    found = objective(student, None, LABELS)
    u = objective.hash_values(student)
    assert found.item() == pytest.approx(
        by_definition(u.tolist(), hash_centres(16, 8)[LABELS].tolist(), 1e-4)
    )


def test_its_gradient_passes_gradcheck_through_the_hash_layer() -> None:
    objective = objectives.get("csq")(bits=8, quantisation=0.5)
    student = values(6, 4).requires_grad_()
    objective(student, None, LABELS)
    weights = tuple(objective.head.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: objective(x, None, LABELS), (student, *weights))


def test_numbers_far_out_are_finite_where_a_logarithm_of_what_rounds_to_zero_would_not_be() -> None:
    u = torch.full((2, 8), 300.0, requires_grad=True)
    loss = central_similarity(u, -torch.ones(2, 8))
    assert loss.item() == pytest.approx(600.0)
    assert torch.isfinite(torch.autograd.grad(loss, u)[0]).all()


def test_following_the_gradient_leads_to_the_centres() -> None:
    objective = objectives.get("csq")(bits=16)
    student = values(6, 12).requires_grad_()
    optimiser = torch.optim.Adam([student], lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        objective(student, None, LABELS).backward()
        optimiser.step()
    codes = objective.hash_values(student).detach().sign()
    assert (codes == objective.targets(LABELS)).float().mean() > 0.9


def test_several_labels_are_aimed_at_their_majority_and_one_at_its_own_centre() -> None:
    objective = objectives.get("csq")(bits=16, seed=3)
    several = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 1], [0, 1, 0, 1]])
    found = objective.targets(several)
    centres = hash_centres(4, 16).float()
    torch.testing.assert_close(found[0], centres[0])
    torch.testing.assert_close(found[1], (centres[1] + centres[2] + centres[3]).sign())
    votes = centres[1] + centres[3]
    agreed = votes != 0
    torch.testing.assert_close(found[2][agreed], votes.sign()[agreed])
    assert not agreed.all() and (found[2].abs() == 1).all()
    torch.testing.assert_close(objectives.get("csq")(bits=16, seed=3).targets(several), found)
    assert not torch.equal(objectives.get("csq")(bits=16, seed=4).targets(several), found)


def test_48_bits_are_refused_with_the_lengths_that_it_has() -> None:
    with pytest.raises(InvalidInput, match=r"bits = 48.*power of two.*32 or 64 bits, or the objective dch"):
        objectives.get("csq")(bits=48)


def test_a_whole_number_of_bits_may_be_given_as_a_float() -> None:
    objective = objectives.get("csq")(bits=64.0)
    assert objective == objectives.get("csq")()
    assert objective(values(6, 4), None, LABELS) == objectives.get("csq")()(values(6, 4), None, LABELS)


@pytest.mark.parametrize("bits", [64.5, math.nan, math.inf])
def test_no_whole_number_of_bits_is_refused(bits: float) -> None:
    with pytest.raises(InvalidInput, match="a code has a whole number of bits"):
        objectives.get("csq")(bits=bits)


def test_a_training_tells_it_how_many_classes_there_are() -> None:
    objective = objectives.get("csq")(bits=16, seed=1)
    objective.for_classes(100)
    assert torch.equal(objective.targets(torch.tensor([99])), hash_centres(100, 16, seed=1)[99:])
    assert not torch.equal(hash_centres(100, 16, seed=1)[:32], hash_centres(32, 16))


def test_by_itself_it_has_to_be_told_of_more_classes_than_the_matrix_has_rows() -> None:
    student = values(1, 4)
    with pytest.raises(InvalidInput, match=r"class 70.*hash centres for 32 classes.*classes=71 or more"):
        objectives.get("csq")(bits=16)(student, None, torch.tensor([70]))
    assert objectives.get("csq")(bits=16, classes=71)(student, None, torch.tensor([70])).item() > 0


def test_fewer_classes_than_the_images_have_are_refused() -> None:
    with pytest.raises(InvalidInput, match="classes = 3, but the images have labels of 5 classes"):
        objectives.get("csq")(classes=3).for_classes(5)


def test_images_without_a_label_are_left_out() -> None:
    objective = objectives.get("csq")(bits=16)
    student = values(8, 4).requires_grad_()
    loss = objective(student, None, torch.cat([LABELS, torch.tensor([-1, -1])]))
    assert loss.item() == pytest.approx(objective(student[:6], None, LABELS).item())
    assert not torch.autograd.grad(loss, student)[0][6:].any()
    none = objective(student, None, torch.full((8,), -1))
    assert none.item() == 0.0
    assert not torch.autograd.grad(none, student)[0].any()


@pytest.mark.parametrize("labels", [torch.tensor([4]), torch.zeros(5, dtype=torch.long), torch.arange(5)])
def test_one_image_and_equal_images_give_finite_numbers(labels: Tensor) -> None:
    student = values(1, 4).expand(len(labels), 4).clone().requires_grad_()
    loss = objectives.get("csq")()(student, None, labels)
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, student)[0]).all()


def test_its_settings_are_the_published_ones() -> None:
    objective = objectives.get("csq")()
    assert (objective.bits, objective.quantisation) == (64, 1e-4)
    assert (objective.needs_labels, objective.needs_teacher, objective.facts.in_teachers_space) == (
        True,
        False,
        False,
    )


@pytest.mark.parametrize("wrong", [{"quantisation": math.inf}, {"classes": -1}, {"seed": -2}, {"bits": 2}])
def test_a_setting_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match=f"{next(iter(wrong))} = "):
        objectives.get("csq")(**wrong)


def test_missing_labels_are_refused() -> None:
    with pytest.raises(InvalidInput, match="csq needs labels"):
        objectives.get("csq")()(values(6, 4), None)
