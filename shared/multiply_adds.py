"""What it costs to describe one image: multiply-adds, counted layer by layer as the literature counts them.

In: a network by its spec, and an image's size. Out: a number. Convolutions and linear layers count, one for
each product; normalisation, pooling and activations do not, which are below one per cent. Nothing is
computed: shapes alone pass through a network without values.
"""

from typing import Any

import torch
from torch import Tensor, nn

from shared.network import NetworkSpec, build_network


def multiply_adds(spec: NetworkSpec, height_px: int, width_px: int) -> int:
    """Multiply-adds of one image of that size through the network, whitening included.

    A head beside it (:mod:`student_trainer.distil.heads`) adds the product of its two dimensions.

    Raises:
        InvalidImage: a flattening network takes no images of that size.
        ValueError: a side is not positive.
    """
    if min(height_px, width_px) < 1:
        raise ValueError(f"An image of {height_px} x {width_px} pixels has no size.")
    counts: list[int] = []

    def count(layer: nn.Module, _: tuple[Any, ...], output: Tensor) -> None:
        counts.append(_of_layer(layer, output))

    with torch.device("meta"), torch.no_grad():
        network = build_network(spec).eval()
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(count)
        network(torch.empty(1, 3, height_px, width_px))
    return sum(counts)


def parameter_count(network: nn.Module) -> int:
    """All weights of a network; statistics of batch norm are none."""
    return sum(parameter.numel() for parameter in network.parameters())


def _of_layer(layer: nn.Module, output: Tensor) -> int:
    """For each number of the output [1, ...], as many products as it is a sum of."""
    if isinstance(layer, nn.Conv2d):
        height, width = layer.kernel_size
        return output.numel() * height * width * layer.in_channels // layer.groups
    assert isinstance(layer, nn.Linear)
    return output.numel() * layer.in_features
