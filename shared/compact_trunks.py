"""The two compact students of the hashing literature: five stages of basic blocks, narrow to the end.

In: a name. Out: an ``nn.Sequential`` from images [B, 3, H, W] to features [B, C, H/64, W/64].

Source: "Context Unaware Knowledge Distillation for Image Retrieval" (2022). Five stages of [2, 3, 5, 3, 2]
basic blocks, of 64, 64, 128, 128 and 128 (``compact-v1``) or 256 channels (``compact-v2``). The stem is a
ResNet's (7 x 7, stride 2, then pooling by 2), the first stage keeps its size and each further one halves it:
an image of 224 x 224 ends as 4 x 4 cells, which ``flatten`` makes 2,048 or 4,096 numbers, as many as the
features of a ResNet50 or an AlexNet have. With 64 bits the first has 3.44 M parameters and 1.087 G
multiply-adds.
"""

from dataclasses import dataclass

from torch import nn
from torchvision.models.resnet import BasicBlock

_STEM_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class Stage:
    """Some basic blocks of one width; the first may halve the map."""

    blocks: int
    channels: int
    stride: int = 2


_COMMON = (Stage(2, 64, stride=1), Stage(3, 64), Stage(5, 128), Stage(3, 128))
COMPACT: dict[str, tuple[Stage, ...]] = {
    "compact-v1": (*_COMMON, Stage(2, 128)),
    "compact-v2": (*_COMMON, Stage(2, 256)),
}
"""Their stages by name."""


def build_compact(name: str) -> nn.Sequential:
    """The trunk, with torch's random initial weights."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, _STEM_CHANNELS, kernel_size=7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(_STEM_CHANNELS),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    ]
    channels = _STEM_CHANNELS
    for stage in COMPACT[name]:
        layers.append(_stage(channels, stage))
        channels = stage.channels
    return nn.Sequential(*layers)


def _stage(channels_before: int, stage: Stage) -> nn.Sequential:
    first = BasicBlock(channels_before, stage.channels, stage.stride, _shortcut(channels_before, stage))
    return nn.Sequential(
        first, *(BasicBlock(stage.channels, stage.channels) for _ in range(stage.blocks - 1))
    )


def _shortcut(channels_before: int, stage: Stage) -> nn.Module | None:
    """What brings a block's input to the shape of its output; None where it has that already."""
    if stage.stride == 1 and channels_before == stage.channels:
        return None
    return nn.Sequential(
        nn.Conv2d(channels_before, stage.channels, kernel_size=1, stride=stage.stride, bias=False),
        nn.BatchNorm2d(stage.channels),
    )
