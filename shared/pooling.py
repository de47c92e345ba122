"""From a map of local features to one vector per image: GeM, MAC, SPoC and R-MAC; or all of it, flattened.

In: features, float [B, C, H, W] with H, W >= 1. Out: float [B, C], not normalised; flattened [B, 16 C].
"""

from math import floor

import torch
from torch import Tensor, nn

from shared.digest import float_text
from shared.image_headers import InvalidImage

GEM_INITIAL_P = 3.0
GEM_EPS = 1e-6
RMAC_LEVELS = 3
RMAC_OVERLAP = 0.4
RMAC_STEPS = (2, 3, 4, 5, 6, 7)
L2_EPS = 1e-6


def l2_normalise(vectors: Tensor) -> Tensor:
    """x / (||x|| + 1e-6) along the last dimension, the public format's form.

    Norms come out as 1 - 1e-6 / ||x||: unit for any real feature vector, and finite for a zero one.
    """
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / (norms + L2_EPS)


def gem(features: Tensor, p: Tensor | float, eps: float = GEM_EPS) -> Tensor:
    """Generalised mean, (mean of max(x, eps)^p)^(1/p) over positions (Radenovic et al. 2018, Eq. 3).

    ``p`` is a number or a tensor of one element; p = 1 is the mean of positive features, large p the maximum.
    """
    return features.clamp(min=eps).pow(p).mean(dim=(-2, -1)).pow(1.0 / p)


def mac(features: Tensor) -> Tensor:
    """Maximum over positions."""
    return features.amax(dim=(-2, -1))


def spoc(features: Tensor) -> Tensor:
    """Mean over positions."""
    return features.mean(dim=(-2, -1))


def rmac(features: Tensor, levels: int = RMAC_LEVELS) -> Tensor:
    """Sum of the L2-normalised maxima of square regions at several scales, and of the whole map.

    Tolias et al. 2016, Sec. 3: regions of side 2 min(H, W) / (level + 1), spread evenly, with as many along
    the longer side as bring the overlap of neighbours nearest to 40 %.
    """
    height, width = features.shape[-2:]
    total = l2_normalise(mac(features))
    for top, left, side in rmac_regions(height, width, levels):
        region = features[..., top : top + side, left : left + side]
        total = total + l2_normalise(mac(region))
    return total


def rmac_regions(height: int, width: int, levels: int = RMAC_LEVELS) -> list[tuple[int, int, int]]:
    """(top, left, side) of every region of :func:`rmac`, without the whole map."""
    shorter, longer = min(height, width), max(height, width)
    extra = _extra_regions(shorter, longer)
    extra_down, extra_right = (extra, 0) if height > width else (0, extra)
    regions: list[tuple[int, int, int]] = []
    for level in range(1, levels + 1):
        side = 2 * shorter // (level + 1)
        if side == 0:
            break
        tops = _starts(height, side, level + extra_down)
        lefts = _starts(width, side, level + extra_right)
        regions += [(top, left, side) for top in tops for left in lefts]
    return regions


def _extra_regions(shorter: int, longer: int) -> int:
    """Regions to add along the longer side of a map; none for a square one."""
    if shorter == longer:
        return 0
    # In float32, as all of this in the public code: on one shape in eighty, 16:9 photographs among them, a
    # region would otherwise lie one cell aside.
    gaps = torch.tensor(RMAC_STEPS, dtype=torch.float32, device="cpu") - 1
    strides = (longer - shorter) / gaps
    overlaps = (shorter**2 - shorter * strides) / shorter**2
    return int((overlaps - RMAC_OVERLAP).abs().argmin()) + 1


def _starts(length: int, side: int, count: int) -> list[int]:
    """Where ``count`` regions of a side start, evenly from one end to the other, in float32 as above."""
    stride = (length - side) / (count - 1) if count > 1 else 0.0
    half = floor(side / 2 - 1)
    steps = torch.arange(count, dtype=torch.float32, device="cpu")
    starts: list[int] = ((half + steps * stride).floor() - half).int().tolist()
    return starts


class GeM(nn.Module):
    """:func:`gem` with a learned exponent ``p`` of shape (1,), 3 at the start."""

    def __init__(self, p: float = GEM_INITIAL_P, eps: float = GEM_EPS) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), p))
        self.eps = eps

    def forward(self, features: Tensor) -> Tensor:
        """float [B, C, H, W] -> [B, C]."""
        return gem(features, self.p, self.eps)

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"p={float_text(self.p.item())}"


class MAC(nn.Module):
    """:func:`mac`."""

    def forward(self, features: Tensor) -> Tensor:
        """float [B, C, H, W] -> [B, C]."""
        return mac(features)


class Embedding(nn.Module):
    """A pooling with a linear layer after it, which makes descriptors of another length."""

    def __init__(self, pooling: nn.Module, pooled_dim: int, dim: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.linear = nn.Linear(pooled_dim, dim)

    def forward(self, features: Tensor) -> Tensor:
        """float [B, C, H, W] -> [B, dim]."""
        embedded: Tensor = self.linear(self.pooling(features))
        return embedded


class SPoC(nn.Module):
    """:func:`spoc`."""

    def forward(self, features: Tensor) -> Tensor:
        """float [B, C, H, W] -> [B, C]."""
        return spoc(features)


class RMAC(nn.Module):
    """:func:`rmac`."""

    def __init__(self, levels: int = RMAC_LEVELS) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, features: Tensor) -> Tensor:
        """float [B, C, H, W] -> [B, C]."""
        return rmac(features, self.levels)


POOLINGS: dict[str, type[nn.Module]] = {"gem": GeM, "mac": MAC, "spoc": SPoC, "rmac": RMAC}


class Flatten(nn.Module):
    """Every cell's features side by side, of maps of 4 x 4 cells alone: images of one size."""

    side = 4
    cells = side * side

    def forward(self, features: Tensor) -> Tensor:
        """float [B, C, 4, 4] -> [B, 16 C], channel by channel.

        Raises:
            WrongMapSize: a map of other sides.
        """
        if features.shape[-2:] != (self.side, self.side):
            height, width = features.shape[-2:]
            raise WrongMapSize(
                f"The features of this image are {height} x {width} cells, and a flattening network takes "
                f"{self.side} x {self.side} alone: of a compact student, images of 193 to 256 pixels a side, "
                "such as 224 x 224. Crop images to squares of that size, or choose another pooling."
            )
        return features.flatten(start_dim=1)


class WrongMapSize(InvalidImage):
    """An image of a size that a flattening network does not take."""


FLATTEN = "flatten"
"""The pooling of networks that take images of one size."""
