"""Convolutional trunks by name: torchvision's networks without their heads.

In: an architecture's name. Out: an ``nn.Sequential`` from images [B, 3, H, W] to features [B, dim, h, w],
and how torchvision's names for its weights map to it.

Names: ``resnet18``, ``34`` (512-d), ``50``, ``101``, ``152`` (2048-d); ``vgg16`` (512-d, without its last
pooling, as retrieval uses it); ``mobilenet_v2`` (1280-d). A number after a dash cuts the network where its
features have so many channels: ``mobilenet_v2-320``, the paper's student, ends before the last 320 -> 1280
convolution (1.81 M parameters); ``resnet18-128`` ends with its second stage (0.68 M parameters), for small
machines. A MobileNetV2 may be narrowed or widened by a factor after an ``x``: ``mobilenet_v2-320x0.35`` has
0.25 M parameters and 112 dimensions. ``compact-v1`` and ``compact-v2`` are the small students of hashing
(:mod:`shared.compact_trunks`), which torchvision has not. A linear layer after the pooling is named by its
dimensions behind a ``+``: ``mobilenet_v2x0.25+512`` has 0.24 M parameters in its trunk, 0.66 M in that layer.
"""

import re
from dataclasses import dataclass, replace

import torchvision
from torch import Tensor, nn
from torch.nn import functional

from shared.compact_trunks import COMPACT, build_compact

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
VGG16 = "vgg16"
ARCHITECTURES = (*RESNETS, VGG16, "mobilenet_v2", "mobilenet_v2-320", *COMPACT)
"""Base names; ResNets also cut by ``-<channels>``, and the two MobileNets widened by ``x<width>``."""

MIN_WIDTH, MAX_WIDTH = 0.1, 2.0
MAX_EMBEDDING = 8192

_RESNET_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
_MOBILENET_CUT = 18
"""``features[18]`` is the 320 -> 1280 convolution."""
_STEM_PARTS = 4
_RESNET = re.compile(r"(resnet\d+)-(\d+)")
_MOBILENET = re.compile(r"(mobilenet_v2)(-320)?(?:x(\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Architecture:
    """A parsed name."""

    name: str
    torchvision_name: str
    """Empty where torchvision has no such network, and so no weights for it."""
    cut: bool = False
    """A MobileNetV2 without its last convolution."""
    stages: int = 4
    """Of a ResNet, how many are kept."""
    width: float = 1.0
    embedding: int = 0
    """Dimensions of a linear layer after the pooling, no part of the trunk; 0 where there is none."""

    @property
    def trunk(self) -> str:
        """The name without the embedding layer."""
        return self.name.partition("+")[0]

    @property
    def is_resnet(self) -> bool:
        """Else it is a VGG16, a MobileNetV2 or a compact student."""
        return self.torchvision_name in RESNETS


def parse_architecture(name: str) -> Architecture:
    """Read a name of the form above.

    Raises:
        ValueError: unknown; the message lists what there is.
    """
    trunk, plus, dims = name.partition("+")
    if plus:
        if not re.fullmatch(r"[1-9]\d*", dims) or int(dims) > MAX_EMBEDDING:
            raise ValueError(
                f"The architecture {name!r} names an embedding layer by its dimensions behind a +: take a "
                f"whole number from 1 to {MAX_EMBEDDING:,}, as in {trunk}+512."
            )
        return replace(_parse_trunk(trunk), name=name, embedding=int(dims))
    return _parse_trunk(name)


def _parse_trunk(name: str) -> Architecture:
    if name in (*RESNETS, VGG16):
        return Architecture(name, name)
    if name in COMPACT:
        return Architecture(name, torchvision_name="")
    if (cut := _RESNET.fullmatch(name)) and cut[1] in RESNETS and int(cut[2]) in _stage_channels(cut[1])[:-1]:
        return Architecture(name, cut[1], stages=_stage_channels(cut[1]).index(int(cut[2])) + 1)
    match = _MOBILENET.fullmatch(name)
    width = float(match[3] or 1.0) if match else 0.0
    if match is None or not MIN_WIDTH <= width <= MAX_WIDTH:
        raise ValueError(
            f"Unknown architecture {name!r}: choose one of {', '.join(ARCHITECTURES)}, "
            f"a ResNet cut at the end of a stage, such as resnet18-128, "
            f"or a MobileNetV2 with a width from {MIN_WIDTH} to {MAX_WIDTH}, such as mobilenet_v2-320x0.35; "
            "with an embedding layer, as resnet18+512."
        )
    return Architecture(name, match[1], cut=match[2] is not None, width=width)


def build_trunk(architecture: Architecture) -> nn.Sequential:
    """A trunk with torchvision's random initial weights."""
    if architecture.trunk in COMPACT:
        return build_compact(architecture.trunk)
    if architecture.is_resnet:
        resnet = getattr(torchvision.models, architecture.torchvision_name)(weights=None)
        return nn.Sequential(*list(resnet.children())[: _STEM_PARTS + architecture.stages])
    if architecture.trunk == VGG16:
        layers = list(torchvision.models.vgg16(weights=None).features)[:-1]
        return nn.Sequential(*(_Halving() if isinstance(layer, nn.MaxPool2d) else layer for layer in layers))
    mobilenet = torchvision.models.mobilenet_v2(weights=None, width_mult=architecture.width)
    blocks = list(mobilenet.features)
    return nn.Sequential(*(blocks[:_MOBILENET_CUT] if architecture.cut else blocks))


class _Halving(nn.MaxPool2d):
    """VGG's pooling of 2 x 2, which leaves a side of one cell as it is: images under 16 pixels pass too."""

    def __init__(self) -> None:
        super().__init__(kernel_size=2)

    def forward(self, features: Tensor) -> Tensor:
        """float [B, C, H, W] -> [B, C, max(1, H // 2), max(1, W // 2)]."""
        return functional.max_pool2d(features, [min(2, side) for side in features.shape[-2:]])


def output_channels(trunk: nn.Module) -> int:
    """Channels of a trunk's features: those of its last convolution."""
    return [module.out_channels for module in trunk.modules() if isinstance(module, nn.Conv2d)][-1]


def trunk_key(architecture: Architecture, torchvision_key: str) -> str | None:
    """Name within the trunk of a torchvision weight; None for the head that the trunk does not have.

    Raises:
        KeyError: torchvision's network has no weight of that name.
    """
    part, _, rest = torchvision_key.partition(".")
    if architecture.is_resnet:
        if part == "fc":
            return None
        if part not in _RESNET_PARTS:
            raise KeyError(f"unknown name {torchvision_key}")
        place = _RESNET_PARTS.index(part)
        return f"{place}.{rest}" if place < _STEM_PARTS + architecture.stages else None
    if part == "classifier":
        return None
    if part != "features":
        raise KeyError(f"unknown name {torchvision_key}")
    cut_away = architecture.cut and rest.startswith(f"{_MOBILENET_CUT}.")
    return None if cut_away else rest


def _stage_channels(resnet: str) -> tuple[int, ...]:
    """Channels at the end of the four stages: basic blocks, or bottlenecks that widen fourfold."""
    widening = 1 if resnet in ("resnet18", "resnet34") else 4
    return tuple(widening * channels for channels in (64, 128, 256, 512))
