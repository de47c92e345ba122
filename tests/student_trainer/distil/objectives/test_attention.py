"""``attention`` compares where two networks look: sums of squares over channels, each map of length 1."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from student_trainer.distil.objectives import get
from student_trainer.distil.objectives.attention import attention
from student_trainer.errors import InvalidInput

Maps = np.ndarray


def maps(images: int, channels: int, height: int, width: int, seed: int = 0) -> Maps:
    return np.random.default_rng([seed, channels, height]).standard_normal((images, channels, height, width))


def looks(features: Maps) -> Maps:
    """[C, h, w] -> [h w]: F_sum^2 of length 1 (Zagoruyko and Komodakis, Section 3.1)."""
    _, height, width = features.shape
    energy = np.array([[sum(f[y, x] ** 2 for f in features) for x in range(width)] for y in range(height)])
    return energy.flatten() / np.sqrt((energy**2).sum())


def from_the_definition(student: Maps, teacher: Maps) -> float:
    gaps = [np.mean((looks(s) - looks(t)) ** 2) for s, t in zip(student, teacher, strict=True)]
    return float(np.mean(gaps))


@pytest.mark.parametrize("channels", [(3, 3), (2, 5)])
def test_it_has_the_value_of_its_definition(channels: tuple[int, int]) -> None:
    student, teacher = maps(3, channels[0], 4, 5), maps(3, channels[1], 4, 5, seed=1)
    found = get("attention")()(torch.from_numpy(student), torch.from_numpy(teacher))
    assert found.item() == pytest.approx(from_the_definition(student, teacher), rel=1e-12)


def test_the_larger_map_is_pooled_to_the_smaller_one() -> None:
    student, teacher = maps(2, 3, 4, 6), maps(2, 3, 2, 3, seed=1)
    quarters = (student**2).sum(axis=1).reshape(2, 2, 2, 3, 2).mean(axis=(2, 4))
    found = attention(torch.from_numpy(student), torch.from_numpy(teacher))
    expected = from_the_definition(np.sqrt(quarters)[:, None], teacher)
    assert found.mean().item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [(3, 4), (5, 2)])
def test_it_has_the_gradient_of_its_value(size: tuple[int, int]) -> None:
    student = torch.from_numpy(maps(2, 3, *size)).requires_grad_()
    teacher = torch.from_numpy(maps(2, 4, 3, 4, seed=1))
    assert torch.autograd.gradcheck(lambda found: attention(found, teacher).sum(), student)


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_how_strong_the_maps_are_does_not_matter(scale: float, seed: int) -> None:
    student, teacher = torch.from_numpy(maps(2, 3, 3, 3, seed)), torch.from_numpy(maps(2, 4, 3, 3, seed + 1))
    torch.testing.assert_close(attention(scale * student, teacher), attention(student, teacher))


def test_equal_images_a_single_image_and_maps_of_zeros_have_a_finite_loss_and_gradient() -> None:
    one = torch.from_numpy(maps(1, 3, 2, 2))
    for student, teacher in ((one, one), (one.expand(5, -1, -1, -1), one.expand(5, -1, -1, -1))):
        leaf = student.clone().requires_grad_()
        loss = attention(leaf, teacher).mean()
        loss.backward()
        assert loss.item() == 0 and leaf.grad is not None and (leaf.grad == 0).all()
    dark = torch.zeros(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    loss = attention(dark, torch.from_numpy(maps(2, 3, 2, 2))).mean()
    loss.backward()
    assert loss.item() == pytest.approx(0.25) and dark.grad is not None and dark.grad.isfinite().all()


def test_of_a_single_cell_there_is_nothing_to_learn_and_a_training_of_such_is_refused() -> None:
    found = attention(torch.from_numpy(maps(2, 3, 1, 1)), torch.from_numpy(maps(2, 5, 1, 1, seed=1)))
    assert found.tolist() == pytest.approx([0, 0])
    with pytest.raises(InvalidInput, match=r"at most 32 x 24 px leave the compared layers one cell"):
        get("attention")().check_cells(1, (24, 32))
    get("attention")().check_cells(2, (24, 32))
    get("hint")().check_cells(1, (24, 32))


def test_its_weight_is_that_of_the_public_code_and_it_learns_nothing_of_its_own() -> None:
    objective = get("attention")()
    assert objective.weight == 1000.0
    assert list(objective.make_regressor(3, 7, 0).parameters()) == []
