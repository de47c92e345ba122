"""The mean of the student's weights after several epochs, which is what the paper keeps (Section 4).

In: the network at chosen moments. Out: a state dict of the mean. The sum is kept in float64, so that its
size does not grow with the number of moments and frozen values come out as they went in.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class WeightMean:
    """A running mean of all floating-point weights and buffers; others (counters) keep their last value."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, network: nn.Module) -> None:
        """Take the network as it is now into the mean."""
        for name, value in network.state_dict().items():
            current = value.detach().to("cpu", torch.float64 if value.is_floating_point() else value.dtype)
            if self.count and value.is_floating_point():
                self._sums[name] += current
            else:
                self._sums[name] = current.clone()
        self.count += 1

    def weights(self, like: nn.Module) -> dict[str, Tensor]:
        """The mean as a state dict, in the dtypes of ``like``.

        Raises:
            ValueError: nothing was added.
        """
        if not self.count:
            raise ValueError("There is nothing to average: no epoch was added.")
        dtypes = {name: value.dtype for name, value in like.state_dict().items()}
        return {
            name: (total / self.count if total.is_floating_point() else total).to(dtypes[name])
            for name, total in self._sums.items()
        }

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"count": self.count, "sums": self._sums}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "WeightMean":
        """Inverse of :meth:`state`."""
        mean = cls()
        mean.count = state["count"]
        mean._sums = dict(state["sums"])
        return mean
