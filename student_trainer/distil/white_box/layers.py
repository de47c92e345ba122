"""Which feature maps of student and teacher are compared, and how they are heard during a forward pass.

In: pairs of layers by name, and two trunks. Out: the maps that these layers give, [B, C, h, w] each.

A name is that of a module within the trunk, as ``named_modules`` has it: the stages of a ResNet are 4 to
7, and ``6.0.conv1`` is a convolution of the third; the blocks of a MobileNetV2 are 0 to 17. Without a
name it is the trunk itself, whose output is what is pooled.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.batch_norm import modes_kept
from student_trainer.errors import InvalidInput
from student_trainer.nearest import nearest

LAST = "last"
"""What is written for the trunk's output."""
MapShape = tuple[int, int, int]
"""Channels, height and width of an image's maps."""


@dataclass(frozen=True)
class LayerPair:
    """A layer of the student, and the layer of the teacher that it is to resemble."""

    student: str
    teacher: str


def parse_layers(text: str) -> tuple[LayerPair, ...]:
    """``4:4,last:last`` -> two pairs, student first; nothing is ``last:last``.

    Raises:
        InvalidInput: it is not of that form, or a pair is named twice.
    """
    pairs = (
        tuple(_pair(part.strip(), text) for part in text.split(",")) if text.strip() else (LayerPair("", ""),)
    )
    if len(set(pairs)) < len(pairs):
        raise InvalidInput(f"objective.layers = {text!r} names a pair twice: leave one out.")
    return pairs


def _pair(part: str, text: str) -> LayerPair:
    names = [name.strip() for name in part.split(":")]
    if len(names) != 2 or not all(names):
        raise InvalidInput(
            f"objective.layers = {text!r}: {part!r} is no pair. Write STUDENT:TEACHER for each, with a comma "
            f"between pairs, such as 6:6,{LAST}:{LAST}."
        )
    student, teacher = ("" if name == LAST else name for name in names)
    return LayerPair(student, teacher)


@contextmanager
def heard(trunk: nn.Module, names: Sequence[str]) -> Iterator[Mapping[str, Tensor]]:
    """Inside, a forward pass of the trunk fills in what the named modules gave, the last time they ran.

    The maps are copies: a layer that works in place would otherwise change them afterwards.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            found[name] = output.clone() if isinstance(output, Tensor) else output

        return hook

    with ExitStack() as stack:
        for name in dict.fromkeys(names):
            handle = trunk.get_submodule(name).register_forward_hook(keep(name))
            stack.callback(handle.remove)
        yield found


def check_names(trunk: nn.Module, names: Sequence[str], whose: str) -> None:
    """Refuse names that are no layers of this trunk.

    Raises:
        InvalidInput: so it is; the message has the nearest.
    """
    known = dict(trunk.named_modules())
    for name in names:
        if name not in known:
            top = [child for child, _ in trunk.named_children()]
            raise InvalidInput(
                f"objective.layers: the {whose}'s trunk has no layer {name!r}.{nearest(name, known)} Its "
                f"outermost are {top[0]} to {top[-1]}, and {LAST} is its output."
            )


def map_shapes(
    trunk: nn.Module, names: Sequence[str], image_px: tuple[int, int], whose: str
) -> list[MapShape]:
    """Of the maps that these layers give of an image of a height and width, by a forward pass.

    Raises:
        InvalidInput: there is no such layer, or it gives no maps.
    """
    check_names(trunk, names, whose)
    like = next(trunk.parameters())
    image = torch.zeros(1, 3, *image_px, device=like.device, dtype=like.dtype)
    with modes_kept(trunk), torch.no_grad(), heard(trunk, names) as found:
        trunk.eval()(image)
    return [_shape(found.get(name), name, whose) for name in names]


def _shape(maps: Any, name: str, whose: str) -> MapShape:
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise InvalidInput(
            f"objective.layers: the {whose}'s layer {name!r} gives no feature maps [images, channels, "
            "height, width]; name one that does, such as a block of convolutions."
        )
    _, channels, height, width = maps.shape
    return channels, height, width


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Maps [B, C, h, w] and [B, D, H, W], both brought to the smaller height and the smaller width.

    By adaptive average pooling: each cell is the mean of the cells that it covers. Where sizes agree, nothing
    is changed.
    """
    height, width = (min(sides) for sides in zip(student.shape[-2:], teacher.shape[-2:], strict=True))

    def pooled(maps: Tensor) -> Tensor:
        if maps.shape[-2:] == (height, width):
            return maps
        return functional.adaptive_avg_pool2d(maps, (height, width))

    return pooled(student), pooled(teacher)
