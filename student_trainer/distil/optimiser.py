"""The optimiser of a training: which weights take part, each at which rate and with which decay.

In: a recipe's training section, the part of the student that is trained, and what the objective learns of its
own. Out: an optimiser; before each step its groups are given the schedule's learning rate, multiplied by
their RATE_FACTOR.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from shared.pooling import GeM
from student_trainer.recipe_sections import TrainingSection

RATE_FACTOR = "rate_factor"
"""Key of a group whose learning rate is a multiple of the schedule's."""

_KINDS: dict[str, type[torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}


def make_optimiser(
    setting: TrainingSection, trained: nn.Module, head: nn.Module | None
) -> torch.optim.Optimizer:
    """Over the trained weights of the student, then those of the head."""
    own = [] if head is None else list(head.parameters())
    powers = [] if setting.pooling_rate_factor == 1 else list(_powers(trained))
    apart = {id(weight) for weight in powers}
    others = [weight for weight in trained.parameters() if id(weight) not in apart]
    groups: list[dict[str, Any]] = [{"params": others + own}]
    if powers:
        groups.append({"params": powers, "weight_decay": 0.0, RATE_FACTOR: setting.pooling_rate_factor})
    return _KINDS[setting.optimiser](groups, weight_decay=setting.weight_decay)  # type: ignore[call-arg]


def _powers(network: nn.Module) -> Iterator[nn.Parameter]:
    """GeM's p, wherever the network pools."""
    for module in network.modules():
        if isinstance(module, GeM):
            yield module.p
