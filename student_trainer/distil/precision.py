"""A network whose own arithmetic is in bfloat16, and whose weights and descriptors stay in float32.

In: a network. Out: a module that gives its descriptors. Half the bytes and, on graphics cards, several times
the speed; the loss never sees it, because similarities that are rounded to eight bits change labels.
"""

import torch
from torch import Tensor, nn


class InBFloat16(nn.Module):
    """``network`` under autocast: convolutions and products in bfloat16, pooling and norms in float32.

    bfloat16 has float32's range, so gradients need no scaling.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """float32 [B, C, H, W] -> float32 descriptors [B, dim]."""
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            descriptors: Tensor = self.network(images)
        return descriptors.float()
