"""A network whose own arithmetic is in bfloat16, and whose weights and descriptors stay in float32.

In: a network. Out: a module that gives its descriptors, or a warning where there may be no gain. Half the
bytes and, on graphics cards, several times the speed; the loss never sees it, because similarities that are
rounded to eight bits change labels.
"""

import torch
from torch import Tensor, nn

BF16 = "bf16"


def warning(precision: str, device: torch.device) -> str | None:
    """What is to be said of a recipe's ``training.precision`` on this device, or None."""
    if precision != BF16 or device.type != "cpu":
        return None
    return (
        f'training.precision = "{BF16}" is for graphics cards. On a CPU it is slower than float32 where '
        "the images are small or the CPU has no instructions for it: compare a few steps of both (--set "
        "training.precision=float32)."
    )


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
