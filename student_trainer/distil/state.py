"""The moving parts of a training: student, optimiser, mean of weights, and how far it has come.

In: a recipe, and a checkpoint if there is one. Out: the parts, and new checkpoints of them.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from shared.network import DescriptorNet
from student_trainer.distil.averaging import WeightMean
from student_trainer.distil.checkpoint import Checkpoint
from student_trainer.distil.frozen_layers import trained_part
from student_trainer.distil.optimiser import make_optimiser
from student_trainer.distil.precision import BF16, InBFloat16
from student_trainer.distil.student import build_untrained, make_trainable
from student_trainer.distil.tuples.schedule import Mined
from student_trainer.recipe import Recipe


@dataclass
class TrainingState:
    """Changes with every step."""

    student: DescriptorNet
    trained: nn.Module
    """What a step describes images with: the student, its upper layers where the lower ones stay as they
    are, or either in bfloat16."""
    optimiser: torch.optim.Optimizer
    head: nn.Module | None = None
    """What the objective learns of its own: a head, or what compares feature maps."""
    mean: WeightMean = field(default_factory=WeightMean)
    head_mean: WeightMean = field(default_factory=WeightMean)
    finished_steps: int = 0
    epoch_losses: list[float] = field(default_factory=list)
    """Of the steps of the epoch that is under way."""
    mined: Mined | None = None
    """The tuples that are trained on; None where every image is, in its turn."""

    @classmethod
    def fresh(
        cls, recipe: Recipe, student: DescriptorNet, device: torch.device, head: nn.Module | None = None
    ) -> "TrainingState":
        """Before the first step of a student with its initial weights, and of a head with its own."""
        make_trainable(student, freeze=recipe.training.batch_norm == "frozen", device=device)
        trained = trained_part(student, recipe.student.trained_from)
        if recipe.training.precision == BF16:
            trained = InBFloat16(trained)
        if head is not None:
            head.to(device)
        return cls(student, trained, make_optimiser(recipe.training, trained, head), head)

    @classmethod
    def resumed(
        cls, recipe: Recipe, checkpoint: Checkpoint, device: torch.device, head: nn.Module | None = None
    ) -> "TrainingState":
        """As it was when the checkpoint was written; ``head`` is given its weights."""
        student = build_untrained(recipe)
        student.load_state_dict(checkpoint.student)
        state = cls.fresh(recipe, student, device, head)
        state.optimiser.load_state_dict(checkpoint.optimiser)
        state.mean = WeightMean.from_state(checkpoint.averaging)
        state.finished_steps = checkpoint.step
        state.epoch_losses = list(checkpoint.epoch_losses)
        if head is not None and checkpoint.head is not None:
            head.load_state_dict(checkpoint.head["weights"])
            state.head_mean = WeightMean.from_state(checkpoint.head["averaging"])
        state.mined = None if checkpoint.mined is None else Mined.from_state(checkpoint.mined)
        return state

    def checkpoint(self, recipe: Recipe, data_digest: str, *, images: int, total_steps: int) -> Checkpoint:
        """The state, to be written before the next step changes it."""
        return Checkpoint(
            step=self.finished_steps,
            total_steps=total_steps,
            recipe_digest=recipe.digest(),
            recipe=recipe.model_dump_json(),
            data_digest=data_digest,
            student=self.student.state_dict(),
            optimiser=self.optimiser.state_dict(),
            averaging=self.mean.state(),
            epoch_losses=self.epoch_losses,
            mined=None if self.mined is None else self.mined.state(),
            head=None if self.head is None else self._head_state(self.head),
            images=images,
        )

    @property
    def weights(self) -> list[nn.Parameter]:
        """All that a step may change."""
        return [*self.trained.parameters(), *([] if self.head is None else self.head.parameters())]

    def take_into_mean(self) -> None:
        """The weights as they are now."""
        self.mean.add(self.student)
        if self.head is not None:
            self.head_mean.add(self.head)

    def become_mean(self) -> None:
        """Replace the weights by their mean."""
        self.student.load_state_dict(self.mean.weights(like=self.student))
        if self.head is not None:
            self.head.load_state_dict(self.head_mean.weights(like=self.head))

    def _head_state(self, head: nn.Module) -> dict[str, Any]:
        return {"weights": head.state_dict(), "averaging": self.head_mean.state()}
