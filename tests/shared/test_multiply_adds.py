"""Multiply-adds: counted by hand, with groups, with whitening, and for networks whose numbers are known."""

import pytest
import torch
from torch import nn

from shared.multiply_adds import _of_layer, multiply_adds, parameter_count
from shared.network import NetworkSpec, build_network


@pytest.mark.parametrize(
    ("layer", "size", "by_hand"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 7), 10 * 7 * 8 * 3 * 9),
        (nn.Conv2d(6, 8, (3, 5), stride=2), (1, 6, 11, 9), 5 * 3 * 8 * 6 * 15),
        (nn.Conv2d(8, 8, 3, groups=8), (1, 8, 5, 5), 3 * 3 * 8 * 9),
        (nn.Linear(12, 5), (1, 12), 60),
    ],
)
def test_a_layer_costs_a_product_for_each_term_of_each_number(
    layer: nn.Module, size: tuple[int, ...], by_hand: int
) -> None:
    assert _of_layer(layer, layer(torch.zeros(size))) == by_hand


@pytest.mark.parametrize(
    ("name", "known_g"),
    [
        ("resnet18", 1.814),
        ("resnet34", 3.663),
        ("resnet50", 4.087),
        ("resnet101", 7.799),
        ("mobilenet_v2", 0.2995),
    ],
)
def test_known_networks_cost_what_is_known_of_them(name: str, known_g: float) -> None:
    """As torchvision's documentation states them, less the classifier: 512, 2048 or 1280 times 1000."""
    assert multiply_adds(NetworkSpec(name), 224, 224) == pytest.approx(known_g * 1e9, rel=1e-3)


def test_a_whitening_layer_is_counted() -> None:
    plain = multiply_adds(NetworkSpec("resnet18"), 64, 64)
    assert multiply_adds(NetworkSpec("resnet18", whitening=True), 64, 64) == plain + 512 * 512


def test_four_times_the_pixels_cost_four_times_as_much() -> None:
    spec = NetworkSpec("resnet18-128")
    assert multiply_adds(spec, 128, 192) == 4 * multiply_adds(spec, 64, 96)


def test_statistics_of_batch_norm_are_no_parameters() -> None:
    with torch.device("meta"):
        assert parameter_count(build_network(NetworkSpec("resnet18-128", "mac"))) == 683_072


@pytest.mark.parametrize("size", [(0, 224), (224, -1)])
def test_an_image_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="has no size"):
        multiply_adds(NetworkSpec("resnet18"), *size)
