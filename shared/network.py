"""The network that turns an image into a descriptor: trunk, pooling, L2 and perhaps whitening.

In: a :class:`NetworkSpec`, or its short name such as ``resnet101-gem``. Out: a :class:`DescriptorNet`, with
random weights or with ImageNet's in its trunk. Checkpoints are read and written in ``shared.checkpoints``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn

from shared.batch_norm import batch_norm_layers, calibrate_batch_norm
from shared.compact_trunks import COMPACT
from shared.digest import JsonValue
from shared.pooling import FLATTEN, POOLINGS, Embedding, Flatten, l2_normalise
from shared.tensor_files import (
    CheckpointError,
    as_tensors,
    fit,
    is_safetensors,
    read_pickle,
    read_safetensors,
)
from shared.trunks import ARCHITECTURES, build_trunk, output_channels, parse_architecture, trunk_key

__all__ = [
    "ARCHITECTURES",
    "CheckpointError",
    "DescriptorNet",
    "NetworkSpec",
    "build_network",
    "calibrate_batch_norm",
    "freeze_batch_norm",
    "load_imagenet_weights",
]

IMAGENET = "imagenet"
_WHITENED = "-w"
_POOLINGS = {**POOLINGS, FLATTEN: Flatten}


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Which network. Raises ValueError for an unknown architecture (see ``shared.trunks``) or pooling."""

    arch: str
    pooling: str = "gem"
    whitening: bool = False

    def __post_init__(self) -> None:
        parse_architecture(self.arch)
        if self.pooling not in _POOLINGS:
            raise ValueError(f"Unknown pooling {self.pooling!r}: choose one of {', '.join(_POOLINGS)}.")
        if self.pooling == FLATTEN and parse_architecture(self.arch).trunk not in COMPACT:
            raise ValueError(
                f"The pooling {FLATTEN!r} is for {' and '.join(COMPACT)}, whose features are few: "
                f"choose one of {', '.join(POOLINGS)} for {self.arch}."
            )

    @classmethod
    def parse(cls, name: str) -> Self:
        """``resnet101-gem``, ``resnet50-gem-w`` (whitening) or ``mobilenet_v2-320`` (pooling gem)."""
        whitening = name.endswith(_WHITENED)
        base = name.removesuffix(_WHITENED)
        arch, _, pooling = base.rpartition("-")
        return cls(arch, pooling, whitening) if pooling in _POOLINGS else cls(base, whitening=whitening)

    @property
    def name(self) -> str:
        """The inverse of :meth:`parse`."""
        return f"{self.arch}-{self.pooling}{_WHITENED if self.whitening else ''}"

    def description(self) -> dict[str, JsonValue]:
        """Plain JSON; ``NetworkSpec(**description)`` gives the spec back."""
        return {"arch": self.arch, "pooling": self.pooling, "whitening": self.whitening}


class DescriptorNet(nn.Module):
    """Images [B, 3, H, W], normalised -> descriptors [B, dim] of unit length.

    features -> pooling [-> embedding layer] -> L2 [-> linear whitening -> L2], with L2 as
    x / (||x|| + 1e-6), the public format's form (Radenovic et al. 2018).
    """

    def __init__(
        self, spec: NetworkSpec, trunk: nn.Module, pooling: nn.Module, whitening: nn.Linear | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = trunk
        self.pool = pooling
        self.whiten = whitening
        self.batch_norm_frozen = False

    def forward(self, images: Tensor) -> Tensor:
        """float [B, 3, H, W] -> float [B, dim]."""
        descriptors = l2_normalise(self.pool(self.trunk(images)))
        return descriptors if self.whiten is None else l2_normalise(self.whiten(descriptors))

    @property
    def dim(self) -> int:
        """Length of a descriptor."""
        return parse_architecture(self.spec.arch).embedding or _pooled_dim(self.trunk, self.spec.pooling)

    def train(self, mode: bool = True) -> Self:
        """As usual, except that frozen batch norm stays in evaluation mode."""
        super().train(mode)
        if self.batch_norm_frozen:
            for layer in batch_norm_layers(self):
                layer.eval()
        return self


def build_network(spec: NetworkSpec, seed: int | None = None) -> DescriptorNet:
    """A network with random weights: the same for the same seed, whatever was drawn before.

    Without a seed the weights come from torch's global generator, which then moves on. Batch norm starts with
    mean 0 and variance 1: a random network is of use after :func:`calibrate_batch_norm` only.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        architecture = parse_architecture(spec.arch)
        trunk, pooling = build_trunk(architecture), _POOLINGS[spec.pooling]()
        dim = _pooled_dim(trunk, spec.pooling)
        if architecture.embedding:
            pooling, dim = Embedding(pooling, dim, architecture.embedding), architecture.embedding
        whitening = nn.Linear(dim, dim) if spec.whitening else None
    return DescriptorNet(spec, trunk, pooling, whitening)


def load_imagenet_weights(network: DescriptorNet, source: Path | str) -> None:
    """Give the trunk the weights of torchvision's classifier, trained on ImageNet.

    Args:
        network: changed in place; pooling and whitening are left alone.
        source: a torchvision state dict (``.safetensors``, or ``.pth``), or ``"imagenet"`` to have
            torchvision download its first release (IMAGENET1K_V1, the one the field starts from).

    Raises:
        CheckpointError: no such file, a pickle that would run code, weights of another architecture,
            or no download.
    """
    architecture = parse_architecture(network.spec.arch)
    check_imagenet_weights(network.spec.arch, source)
    if source == IMAGENET:
        tensors = _download(network.spec.arch, architecture.torchvision_name)
    else:
        path = Path(source)
        tensors = read_safetensors(path)[0] if is_safetensors(path) else read_pickle(path)
    what = f"The file of ImageNet weights {source}"
    try:
        renamed = {trunk_key(architecture, name): tensor for name, tensor in as_tensors(tensors).items()}
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{what} is not a torchvision state dict of {architecture.torchvision_name}: {error}."
        ) from None
    fit(network.trunk, {name: tensor for name, tensor in renamed.items() if name is not None}, what)


def check_imagenet_weights(arch: str, source: Path | str = IMAGENET) -> None:
    """Refuse ImageNet weights of an architecture that has none, or none that ``source`` could bring.

    Raises:
        CheckpointError: so it is; no file is looked at.
    """
    architecture = parse_architecture(arch)
    if not architecture.torchvision_name:
        raise CheckpointError(
            f"There are no ImageNet weights of {arch}: torchvision has no such network. Start from random "
            "weights, or from a network that was saved before."
        )
    if source == IMAGENET and architecture.width != 1:
        raise CheckpointError(
            f"ImageNet weights of {arch} are not published by torchvision, which has width 1 alone. Name a "
            "file of yours instead of 'imagenet' (a state dict in torchvision's names), or use random "
            "weights."
        )


def freeze_batch_norm(network: DescriptorNet) -> None:
    """Freeze running statistics for good: later calls of ``network.train()`` leave them in evaluation mode.

    Their affine weights are still trained. The choice lives in ``network.batch_norm_frozen`` and in
    ``DescriptorNet.train``, so call ``train()`` on the network, not on its trunk. It is not saved.
    """
    network.batch_norm_frozen = True
    network.train(network.training)


def _pooled_dim(trunk: nn.Module, pooling: str) -> int:
    """Length of pooled features: one number for each channel, or for each channel of each cell."""
    return output_channels(trunk) * (Flatten.cells if pooling == FLATTEN else 1)


def _download(arch: str, torchvision_name: str) -> dict[str, Tensor]:
    weights = torchvision.models.get_model_weights(torchvision_name).IMAGENET1K_V1
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"ImageNet weights of {arch} could not be downloaded from {weights.url}: {error}. "
            "Fetch the file on another machine and name it instead of 'imagenet', or use random weights."
        ) from error
    return state
