"""Files in the public format (cirtorch), made from torchvision's networks by the published names."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PLACES = {"conv1": 0, "bn1": 1, "relu": 2, "maxpool": 3, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
"""Where ``features = Sequential(resnet.children()[:-2])`` puts the parts of a ResNet."""


def public_names(classifier: nn.Module) -> dict[str, Tensor]:
    """The weights of a classifier without its head, as ``features...``; a VGG names them so itself."""
    named = {}
    for name, tensor in classifier.state_dict().items():
        part, _, rest = name.partition(".")
        if part in PLACES:
            named[f"features.{PLACES[part]}.{rest}"] = tensor
        elif part == "features":
            named[name] = tensor
    return named


def public_content(
    classifier: nn.Module, *, p: float | None = 2.9, old: bool = True, **meta: Any
) -> dict[str, Any]:
    """A checkpoint as the public code writes it; ``p=None`` for a pooling without an exponent.

    Args:
        classifier: torchvision's.
        p: GeM's exponent.
        old: without batch counters, as early versions of PyTorch left it.
        meta: replaces or adds to a ResNet18-GeM's.
    """
    state = {
        name: tensor
        for name, tensor in public_names(classifier).items()
        if not (old and name.endswith("num_batches_tracked"))
    }
    if p is not None:
        state["pool.p"] = torch.tensor([p])
    known = {"architecture": "resnet18", "pooling": "gem", "mean": MEAN, "std": STD, "outputdim": 512}
    return {"meta": known | meta, "state_dict": state}


def textured(width: int, height: int, seed: int) -> Image.Image:
    """A picture with coarse and fine detail, so that it matters how it is shrunk."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for side, weight in ((4, 0.5), (24, 0.3), (120, 0.2)):
        grain = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        total += weight * np.asarray(
            grain.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64
        )
    return Image.fromarray(total.round().clip(0, 255).astype(np.uint8))


def calibrated_resnet18(images: Iterable[Image.Image], seed: int = 5) -> torchvision.models.ResNet:
    """Random, with batch norm statistics of the images: without them every image looks much the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = torchvision.models.resnet18(weights=None)
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        classifier.train()(torch.stack([normalised(image) for image in images]))
    return classifier.eval()


def normalised(image: Image.Image) -> Tensor:
    """float32 [3, H, W]: what torchvision's ``ToTensor`` and ``Normalize`` make of it."""
    values = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return (values - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
