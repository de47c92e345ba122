"""Descriptors of a public file equal those of its format, written here once more from the definition.

Each step that is easily taken for an equivalent one (another resize, another way to scale or to combine)
moves a descriptor by more than the bound, as is shown below.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from made_public_networks import calibrated_resnet18, normalised, public_content, public_names, textured
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from shared.checkpoints import load_network
from shared.extraction import describe
from shared.network import NetworkSpec, build_network
from shared.pooling import rmac_regions
from shared.public_networks import own_name, public_name

Vector = NDArray[np.float64]
BOUND = 1e-5
P = 2.6
SIZE = 136
"""Longest side in pixels."""
SEVERAL = (1.0, 1 / math.sqrt(2), 0.5)
BOX = (103.6, 41.2, 388.9, 352.5)


def unit(vector: Vector) -> Vector:
    return vector / (np.linalg.norm(vector) + 1e-6)


def gem(maps: Vector) -> Vector:
    return (np.maximum(maps, 1e-6) ** P).mean(axis=(1, 2)) ** (1 / P)


def mac(maps: Vector) -> Vector:
    return maps.max(axis=(1, 2))


def spoc(maps: Vector) -> Vector:
    return maps.mean(axis=(1, 2))


def rmac(maps: Vector) -> Vector:
    """The whole map and squares of three sizes, more of them along the longer side (Tolias et al. 2016)."""
    height, width = maps.shape[1:]
    total = unit(mac(maps))
    for top, left, side in squares(height, width):
        total = total + unit(mac(maps[:, top : top + side, left : left + side]))
    return total


def squares(height: int, width: int) -> list[tuple[int, int, int]]:
    """In float32, and in the order of operations, of the public code."""
    short, long = min(height, width), max(height, width)
    strides = (long - short) / (torch.tensor([2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) - 1)
    nearest = torch.abs((short**2 - short * strides) / short**2 - 0.4).min(dim=0).indices.item()
    more = 0 if height == width else int(nearest) + 1
    found = []
    for level in (1, 2, 3):
        side = math.floor(2 * short / (level + 1))
        if side:
            rows, columns = level + more * (height > width), level + more * (width > height)
            found += [
                (top, left, side)
                for top in corners(height - side, rows, side)
                for left in corners(width - side, columns, side)
            ]
    return found


def corners(room: int, count: int, side: int) -> list[int]:
    centre = math.floor(side / 2 - 1)
    stride = 0 if count == 1 else room / (count - 1)
    return [int(value) for value in torch.floor(centre + torch.Tensor(range(count)) * stride) - centre]


POOLINGS: dict[str, Callable[[Vector], Vector]] = {"gem": gem, "mac": mac, "spoc": spoc, "rmac": rmac}


def shrunk(image: Image.Image, side: float) -> Image.Image:
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def scaled(images: Tensor, scale: float) -> Tensor:
    return functional.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Definition:
    """What the public code computes for one image, each step replaceable."""

    features: nn.Module
    pooling: str = "gem"
    whitening: nn.Linear | None = None
    shrink: Callable[[Image.Image, float], Image.Image] = shrunk
    scale: Callable[[Tensor, float], Tensor] = scaled
    combine: bool = True
    """By the generalised mean where the format asks for it."""
    follow_crop: bool = True
    """Shrink a crop by the factor of the whole."""

    def describe(self, image: Image.Image, scales: tuple[float, ...], box: object) -> Vector:
        part = image if box is None else image.crop(box)  # type: ignore[arg-type]
        ratio = max(part.size) / max(image.size) if self.follow_crop else 1.0
        pixels = normalised(self.shrink(part, SIZE * ratio))[None]
        powered = self.pooling == "gem" and self.whitening is None and len(scales) > 1 and self.combine
        power = P if powered else 1.0
        total = sum(
            self.at_one_scale(pixels if scale == 1.0 else self.scale(pixels, scale)) ** power
            for scale in scales
        )
        return unit((total / len(scales)) ** (1 / power))

    def at_one_scale(self, pixels: Tensor) -> Vector:
        with torch.no_grad():
            maps = self.features(pixels)[0].double().numpy()
        descriptor = unit(POOLINGS[self.pooling](maps))
        if self.whitening is None:
            return descriptor
        weight, bias = (tensor.detach().double().numpy() for tensor in self.whitening.parameters())
        return unit(weight @ descriptor + bias)


@pytest.fixture(scope="module")
def classifier() -> torchvision.models.ResNet:
    return calibrated_resnet18([textured(96, 96, seed) for seed in range(8)])


@pytest.fixture(scope="module")
def features(classifier: torchvision.models.ResNet) -> nn.Module:
    return nn.Sequential(*list(classifier.children())[:-2])


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photographs") / "street.jpg"
    textured(641, 431, 3).save(path, quality=92)
    return path


def random_layer(dim: int) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Linear(dim, dim)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("whitened", [False, True], ids=["plain", "whitened"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_descriptors_equal_the_formats_own_at_one_scale_and_at_several_with_and_without_a_box(
    classifier: torchvision.models.ResNet,
    features: nn.Module,
    photograph: Path,
    pooling: str,
    whitened: bool,
    tmp_path: Path,
) -> None:
    content = public_content(
        classifier, p=P if pooling == "gem" else None, pooling=pooling, whitening=whitened
    )
    layer = None
    if whitened:
        layer = random_layer(512)
        content["state_dict"] |= {f"whiten.{name}": tensor for name, tensor in layer.state_dict().items()}
    torch.save(content, tmp_path / "a.pth")
    network = load_network(tmp_path / "a.pth")
    definition = Definition(features, pooling, layer)
    for scales in ((1.0,), SEVERAL):
        for box in (None, BOX):
            row = describe(network, [photograph], SIZE, scales, [box])[0]
            expected = definition.describe(opened(photograph), scales, box)
            assert distance(row, expected) < BOUND, (scales, box)


def test_a_vgg16_gives_the_descriptors_of_its_format(photograph: Path, tmp_path: Path) -> None:
    """Its features end before the last pooling; there is no batch norm."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        vgg = torchvision.models.vgg16(weights=None).eval()
    content = public_content(vgg, p=P, architecture="vgg16")
    assert len(content["state_dict"]) == 2 * 13 + 1
    torch.save(content, tmp_path / "a.pth")
    network = load_network(tmp_path / "a.pth")
    definition = Definition(vgg.features[:-1])
    row = describe(network, [photograph], SIZE, SEVERAL, [BOX])[0]
    assert distance(row, definition.describe(opened(photograph), SEVERAL, BOX)) < BOUND


def test_rmac_takes_the_regions_of_the_format_on_maps_of_every_shape() -> None:
    for height in range(1, 41, 3):
        for width in range(1, 41):
            assert rmac_regions(height, width) == squares(height, width), (height, width)


def bilinear(image: Image.Image, side: float) -> Image.Image:
    return image.resize(shrunk(image, side).size, Image.Resampling.BILINEAR)


def without_reducing_gap(image: Image.Image, side: float) -> Image.Image:
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=None)
    return small


def to_size(images: Tensor, scale: float) -> Tensor:
    size = [math.floor(side * scale) for side in images.shape[-2:]]
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)


def antialiased(images: Tensor, scale: float) -> Tensor:
    return functional.interpolate(
        images, scale_factor=scale, mode="bilinear", align_corners=False, antialias=True
    )


SHORTCUTS: dict[str, dict[str, object]] = {
    "bilinear resize": {"shrink": bilinear},
    "no reducing gap": {"shrink": without_reducing_gap},
    "scaled to a size": {"scale": to_size},
    "antialiased": {"scale": antialiased},
    "plain mean": {"combine": False},
    "crop ratio ignored": {"follow_crop": False},
}


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_every_shortcut_would_be_seen(features: nn.Module, photograph: Path, shortcut: str) -> None:
    image = opened(photograph)
    exact = Definition(features).describe(image, SEVERAL, BOX)
    shorter = Definition(features, **SHORTCUTS[shortcut])  # type: ignore[arg-type]
    assert distance(shorter.describe(image, SEVERAL, BOX), exact) > 10 * BOUND


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "vgg16"])
def test_every_published_trunk_has_the_names_and_shapes_of_the_format(name: str) -> None:
    """On the meta device: shapes without values."""
    with torch.device("meta"):
        theirs = public_names(getattr(torchvision.models, name)())
        ours = build_network(NetworkSpec(name)).trunk.state_dict(prefix="trunk.")
    assert {own_name(key): tensor.shape for key, tensor in theirs.items()} == {
        key: tensor.shape for key, tensor in ours.items()
    }
    assert {public_name(key) for key in ours} == theirs.keys()
