"""Pooling against plain NumPy, its limits, its gradients, and R-MAC's regions against a drawing."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.pooling import MAC, POOLINGS, RMAC, GeM, SPoC, gem, l2_normalise, mac, rmac, rmac_regions, spoc

SHAPES = [(1, 1), (1, 9), (9, 1), (2, 3), (7, 7), (12, 16), (3, 40)]


def features(height: int, width: int, batch: int = 2, channels: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("p", [1.0, 2.5, 3.0, 10.0])
def test_gem_is_the_generalised_mean_of_the_positive_part(shape: tuple[int, int], p: float) -> None:
    maps = features(*shape) - 0.3
    positive = np.maximum(maps.numpy(), 1e-6)
    expected = np.mean(positive**p, axis=(2, 3)) ** (1 / p)
    np.testing.assert_allclose(gem(maps, p).numpy(), expected, rtol=1e-12)


def test_gem_at_one_is_the_mean_and_at_a_large_exponent_nears_the_maximum() -> None:
    maps = features(6, 5) + 0.1
    torch.testing.assert_close(gem(maps, 1.0), spoc(maps))
    torch.testing.assert_close(gem(maps, 500.0), mac(maps), rtol=0.01, atol=0)


@settings(max_examples=50)
@given(st.floats(1.0, 20.0), st.floats(0.1, 20.0))
def test_gem_grows_with_its_exponent(p: float, step: float) -> None:
    maps = features(4, 4)
    assert (gem(maps, p + step) >= gem(maps, p) - 1e-12).all()


def test_a_number_and_a_tensor_exponent_give_the_same() -> None:
    maps = features(4, 6)
    torch.testing.assert_close(gem(maps, 3.0), gem(maps, torch.tensor([3.0], dtype=torch.float64)))


def test_gem_has_the_gradient_of_its_formula_in_features_and_exponent() -> None:
    maps = (features(3, 2, batch=1, channels=2) + 0.1).requires_grad_()
    p = torch.tensor([2.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gem, (maps, p))


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_pooling_gives_one_finite_vector_per_image_alone_or_in_a_batch(
    name: str, shape: tuple[int, int]
) -> None:
    pool = POOLINGS[name]().double()
    maps = features(*shape)
    pooled = pool(maps)
    assert pooled.shape == (2, 5)
    assert torch.isfinite(pooled).all()
    torch.testing.assert_close(pool(maps[1:]), pooled[1:])


@pytest.mark.parametrize("name", POOLINGS)
def test_a_map_of_zeros_gives_a_finite_descriptor_and_gradient(name: str) -> None:
    maps = torch.zeros(1, 4, 3, 3, requires_grad=True)
    descriptor = l2_normalise(POOLINGS[name]()(maps))
    descriptor.sum().backward()
    assert torch.isfinite(descriptor).all()
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()


@pytest.mark.parametrize(
    ("module", "function"),
    [(GeM(), lambda maps: gem(maps, 3.0)), (MAC(), mac), (SPoC(), spoc), (RMAC(), rmac)],
    ids=["gem", "mac", "spoc", "rmac"],
)
def test_modules_compute_their_functions(module: torch.nn.Module, function: object) -> None:
    maps = features(5, 8).float()
    torch.testing.assert_close(module(maps), function(maps))  # type: ignore[operator]


def test_the_exponent_is_learned_starts_at_three_and_is_stored_under_its_public_name() -> None:
    pool = GeM()
    assert list(pool.state_dict()) == ["p"]
    assert pool.p.shape == (1,)
    assert pool.p.item() == 3.0
    pool(features(3, 3).float()).sum().backward()
    assert pool.p.grad is not None
    assert pool.p.grad.item() != 0.0
    assert "p=3.0" in repr(pool)


def test_mac_and_spoc_are_maximum_and_mean() -> None:
    maps = features(4, 7)
    np.testing.assert_allclose(mac(maps).numpy(), maps.numpy().max(axis=(2, 3)))
    np.testing.assert_allclose(spoc(maps).numpy(), maps.numpy().mean(axis=(2, 3)))


def test_normalisation_follows_the_public_formula() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e-6, 4e-6]], dtype=torch.float64)
    expected = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e-6, 4e-6]], dtype=torch.float64)
    for row, length in enumerate((5.0, 0.0, 5e-6)):
        expected[row] /= length + 1e-6
    torch.testing.assert_close(l2_normalise(vectors), expected)


# R-MAC


def test_a_square_map_has_one_then_four_then_nine_regions() -> None:
    regions = rmac_regions(12, 12)
    assert [side for _, _, side in regions] == [12] + [8] * 4 + [6] * 9
    assert {(top, left) for top, left, side in regions if side == 8} == {(0, 0), (0, 4), (4, 0), (4, 4)}
    assert {(top, left) for top, left, side in regions if side == 6} == {
        (top, left) for top in (0, 3, 6) for left in (0, 3, 6)
    }


def test_a_longer_side_holds_more_regions_that_overlap_by_about_two_fifths() -> None:
    squares = [(top, left) for top, left, side in rmac_regions(10, 16) if side == 10]
    assert squares == [(0, 0), (0, 6)]  # a stride of 6 overlaps by 0.4


@settings(max_examples=200)
@given(st.integers(1, 60), st.integers(1, 60))
def test_regions_lie_inside_reach_both_ends_and_turn_with_the_map(height: int, width: int) -> None:
    regions = rmac_regions(height, width)
    assert all(0 <= top <= height - side and 0 <= left <= width - side for top, left, side in regions)
    assert min(top for top, _, _ in regions) == 0
    assert max(top + side for top, _, side in regions) == height
    assert max(left + side for _, left, side in regions) == width
    assert sorted((left, top, side) for top, left, side in regions) == sorted(rmac_regions(width, height))


def test_rmac_sums_the_unit_maxima_of_the_regions_and_of_the_whole() -> None:
    maps = features(9, 14, batch=1, channels=6)
    expected = np.zeros(6)
    for top, left, side in [(0, 0, None), *rmac_regions(9, 14)]:
        bottom, right = (9, 14) if side is None else (top + side, left + side)
        maximum = maps.numpy()[0, :, top:bottom, left:right].max(axis=(1, 2))
        expected += maximum / (math.sqrt(float((maximum**2).sum())) + 1e-6)
    np.testing.assert_allclose(rmac(maps)[0].numpy(), expected, rtol=1e-10)


def test_fewer_levels_use_fewer_regions() -> None:
    assert len(rmac_regions(8, 8, levels=1)) == 1
    assert not torch.equal(RMAC(levels=1)(features(8, 8)), RMAC(levels=3)(features(8, 8)))
