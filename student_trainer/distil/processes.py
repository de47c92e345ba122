"""Several processes that train one student together, each on its share of every batch.

In: the environment that ``torchrun`` gives its workers. Out: :class:`Processes`, a few verbs that do nothing
where there is only one process.

All hold the same batch order, student and optimiser; what differs is which chunks of a batch each describes.
Descriptors are gathered, so every process has those of the whole batch, and every process takes the loss of
them: one that computed it for all would only let the others wait, and have one transfer more. Gradients are
summed, not averaged, because each is already its share's part of the gradient of one loss. The sum has the
same bits everywhere, and so have the weights.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from shared.extraction import pick_device
from student_trainer.errors import InvalidInput, TrainingFailed

T = TypeVar("T")

CPU_BACKEND, GPU_BACKEND = "gloo", "nccl"


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; by default it is alone."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    """Among those on this machine."""
    local_count: int = 1

    @property
    def first(self) -> bool:
        """This is the one that writes and speaks."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device that ``training.device`` means for this process: one GPU each, or the CPU for all.

        Raises:
            InvalidInput: there is no such device, fewer GPUs than processes, or one GPU named for all.
        """
        try:
            device = pick_device(name)
        except ValueError as error:
            raise InvalidInput(f"training.device: {error}") from None
        if self.count == 1 or device.type != "cuda":
            return device
        if ":" in name:
            raise InvalidInput(
                f"training.device = {name!r} names one GPU, and {self.count} processes train here. "
                "Say cuda, and each takes its own."
            )
        if self.local_count > torch.cuda.device_count():
            raise InvalidInput(
                f"{self.local_count} processes on this machine need a GPU each, and it has "
                f"{torch.cuda.device_count()}. Start fewer, or --set training.device=cpu."
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def share(self, costs: Sequence[int]) -> list[int]:
        """Which of the items with these costs are this process's, in their order.

        The dearest first, each to whoever has least: a function of the costs alone, so all agree.
        """
        loads, mine = [0] * self.count, []
        for item in sorted(range(len(costs)), key=lambda item: -costs[item]):
            owner = loads.index(min(loads))
            loads[owner] += costs[item]
            if owner == self.rank:
                mine.append(item)
        return sorted(mine)

    def check_same(self, facts: Mapping[str, str]) -> None:
        """Refuse to train where the processes do not see the same.

        Raises:
            InvalidInput: names the fact that differs.
        """
        for rank, theirs in enumerate(self._all(dict(facts))):
            for name, ours in facts.items():
                if theirs[name] != ours:
                    raise InvalidInput(
                        f"The processes of this training do not have the same {name}: {ours[:12]} in process "
                        f"{self.rank}, {theirs[name][:12]} in process {rank}. Start all by one command, with "
                        "a run folder and images that all of them see."
                    )

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, for all."""
        made: list[Any] = [make() if self.first else None]
        if self.count > 1:
            with self._waiting():
                dist.broadcast_object_list(made, src=0)
        value: T = made[0]
        return value

    def on_first(self, action: Callable[[], object]) -> None:
        """Do it in the first process alone; if it fails there, the others find out when they next wait."""
        if self.first:
            action()

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """The first process does what stands in this context, then all others: they find its files."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def wait(self) -> None:
        """Until all have come here."""
        self._all(None)

    def same_weights(self, network: nn.Module) -> None:
        """Give the network of every process the weights and buffers of the first one's."""
        if self.count > 1:
            weights = {name: value.cpu() for name, value in network.state_dict().items()}
            network.load_state_dict(self.from_first(lambda: weights))

    def gather(self, positions: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """All processes' rows, with their positions: long [b], [b, d] -> long [B], [B, d].

        Shares may differ in size; a process whose share is empty gives [0, 0].
        """
        if self.count == 1:
            return positions, rows
        shares = self._all((positions.tolist(), rows.shape[1]))
        padded = rows.new_zeros(max(len(share) for share, _ in shares), max(width for _, width in shares))
        if len(rows):
            padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in shares]
        with self._waiting():
            dist.all_gather(parts, padded)
        order = torch.tensor([position for share, _ in shares for position in share], device=rows.device)
        return order, torch.cat([part[: len(share)] for part, (share, _) in zip(parts, shares, strict=True)])

    def sum_gradients(self, network: nn.Module) -> None:
        """Replace the gradient of every weight by its sum over the processes."""
        if self.count == 1:
            return
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        # One whose share was empty has no gradients yet; a weight that nobody used keeps none.
        used = [any(column) for column in zip(*self._all([w.grad is not None for w in weights]), strict=True)]
        gradients = [_gradient(weight) for weight, is_used in zip(weights, used, strict=True) if is_used]
        if not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        with self._waiting():
            dist.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def total(self, value: float) -> float:
        """The sum of every process's number, in the order of their ranks."""
        return sum(self._all(value))

    def union(self, rows: Sequence[int]) -> list[int]:
        """The rows that any process names, sorted."""
        return sorted({row for theirs in self._all(list(rows)) for row in theirs})

    def _all(self, value: T) -> list[T]:
        """Every process's value, by rank."""
        values: list[Any] = [value] * self.count
        if self.count > 1:
            with self._waiting():
                dist.all_gather_object(values, value)
        return values

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Around whatever needs the other processes."""
        try:
            yield
        except RuntimeError as error:  # gloo and nccl have no type of their own for a lost connection
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TrainingFailed(
                f"Process {self.rank} of {self.count} waited for the others in vain ({reason}). One of them "
                "was stopped, or cannot be reached. The last checkpoint is kept: run the same command again, "
                "with any number of processes."
            ) from None


ALONE = Processes()
"""The usual training."""


def _gradient(weight: Tensor) -> Tensor:
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad
