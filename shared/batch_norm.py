"""Batch normalisation for descriptor networks: statistics frozen, or measured once from data.

In: a network, and for measuring, batches of normalised images. Out: the same network, changed in place.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norm_layers(network: nn.Module) -> list[_BatchNorm]:
    """Every batch-norm layer, in the order of definition."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """Whatever happens inside, every module is then in training or evaluation mode as before."""
    modes = {module: module.training for module in network.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@torch.no_grad()
def calibrate_batch_norm(network: nn.Module, batches: Iterable[Tensor], part: nn.Module | None = None) -> int:
    """Set the running statistics of every batch-norm layer from data; returns the number of images seen.

    A randomly initialised network carries mean 0 and variance 1, which its features do not have: in
    evaluation mode they fade or grow from layer to layer (an uncalibrated MobileNetV2 gives every image the
    same descriptor). Each layer's statistics become the average of its batch statistics over all batches
    (torch's ``momentum=None``), on features that the earlier layers normalised by the batch, as in training.
    So one large batch gives that batch's exact statistics; of several, use batches of equal size and similar
    content. Weights are not touched, and modes are as before.

    Args:
        network: any module that takes one batch.
        batches: float [B, 3, H, W] each, normalised, on the network's device.
        part: the module of the network whose layers are calibrated; None for all. The others keep theirs.

    Raises:
        ValueError: no batches, or a layer sees a single value per channel (larger images are needed).
    """
    layers = batch_norm_layers(network if part is None else part)
    momenta = [layer.momentum for layer in layers]
    images = 0
    try:
        with modes_kept(network):
            network.eval()
            for layer in layers:
                layer.reset_running_stats()
                layer.momentum = None
                layer.train()
            for batch in batches:
                network(batch)
                images += len(batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if not images:
        raise ValueError("Batch norm cannot be calibrated without a single batch of images.")
    return images
