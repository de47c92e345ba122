"""Stage three of the backward, for one chunk: its images again with a graph, and their share of the gradient.

In: a network, the gradient with respect to the batch's descriptors, and what of the loss needs more than
descriptors. Out: gradients, added to those of the chunks before.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


class ChunkTerm(Protocol):
    """A part of the loss in which each image stands for itself: its mean over the batch.

    It needs more of the network than descriptors, and no other image, so stage three takes it chunk by chunk.
    """

    @property
    def weights(self) -> nn.Module:
        """What it learns of its own; gets its gradient too."""
        ...

    def __call__(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors [b, d] of images [b, 3, H, W], and each image's loss [b]."""
        ...


@dataclass(frozen=True)
class Push:
    """Stage 3 for one chunk: add its part of the gradient to the parameters."""

    network: nn.Module
    gradient: Tensor | None
    """[B, d], from stage 2."""
    term: ChunkTerm | None
    batch_size: int

    @property
    def networks(self) -> list[nn.Module]:
        """Whose gradients come chunk by chunk."""
        return [self.network] if self.term is None else [self.network, self.term.weights]

    def zero_grad(self) -> None:
        """Before the first chunk."""
        for part in self.networks:
            part.zero_grad()

    def __call__(self, positions: Tensor, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The chunk's positions and the term's losses of it, [b] each; nothing without a term."""
        gradient = None if self.gradient is None else self.gradient[positions]
        if self.term is None:
            self.network(images).backward(gradient)
            return []
        descriptors, losses = self.term(self.network, images)
        mean = losses.sum() / self.batch_size
        if gradient is None:
            torch.autograd.backward([mean])
        else:
            torch.autograd.backward([mean, descriptors], [None, gradient])
        return [(positions, losses.detach())]
