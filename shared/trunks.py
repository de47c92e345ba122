"""Convolutional trunks by name: torchvision's networks without their heads.

In: an architecture's name. Out: an ``nn.Sequential`` from images [B, 3, H, W] to features [B, dim, h, w],
and how torchvision's names for its weights map to it.

Names: ``resnet18``, ``34`` (512-d), ``50``, ``101``, ``152`` (2048-d); ``mobilenet_v2`` (1280-d);
``mobilenet_v2-320``, the same cut before its last 320 -> 1280 convolution (1.81 M parameters). A MobileNetV2
may be narrowed or widened by a factor after an ``x``: ``mobilenet_v2-320x0.35`` has 0.25 M parameters and
112 dimensions, for small machines.
"""

import re
from dataclasses import dataclass

import torchvision
from torch import nn

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
ARCHITECTURES = (*RESNETS, "mobilenet_v2", "mobilenet_v2-320")
"""Base names; the two MobileNets also with ``x<width>`` behind them."""

MIN_WIDTH, MAX_WIDTH = 0.1, 2.0

_RESNET_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
_MOBILENET_CUT = 18
"""``features[18]`` is the 320 -> 1280 convolution."""
_MOBILENET = re.compile(r"(mobilenet_v2)(-320)?(?:x(\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Architecture:
    """A parsed name."""

    name: str
    torchvision_name: str
    cut: bool = False
    width: float = 1.0

    @property
    def is_resnet(self) -> bool:
        """Else it is a MobileNetV2."""
        return self.torchvision_name in RESNETS


def parse_architecture(name: str) -> Architecture:
    """Read a name of the form above.

    Raises:
        ValueError: unknown; the message lists what there is.
    """
    if name in RESNETS:
        return Architecture(name, name)
    match = _MOBILENET.fullmatch(name)
    width = float(match[3] or 1.0) if match else 0.0
    if match is None or not MIN_WIDTH <= width <= MAX_WIDTH:
        raise ValueError(
            f"Unknown architecture {name!r}: choose one of {', '.join(ARCHITECTURES)}, "
            f"or a MobileNetV2 with a width from {MIN_WIDTH} to {MAX_WIDTH}, such as mobilenet_v2-320x0.35."
        )
    return Architecture(name, match[1], cut=match[2] is not None, width=width)


def build_trunk(architecture: Architecture) -> nn.Sequential:
    """A trunk with torchvision's random initial weights."""
    if architecture.is_resnet:
        resnet = getattr(torchvision.models, architecture.torchvision_name)(weights=None)
        return nn.Sequential(*list(resnet.children())[:-2])
    mobilenet = torchvision.models.mobilenet_v2(weights=None, width_mult=architecture.width)
    blocks = list(mobilenet.features)
    return nn.Sequential(*(blocks[:_MOBILENET_CUT] if architecture.cut else blocks))


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
        return f"{_RESNET_PARTS.index(part)}.{rest}"
    if part == "classifier":
        return None
    if part != "features":
        raise KeyError(f"unknown name {torchvision_key}")
    cut_away = architecture.cut and rest.startswith(f"{_MOBILENET_CUT}.")
    return None if cut_away else rest
