"""The three-stage backward: the exact gradient of a loss over a large batch, in the memory of one chunk.

In: a network, the batch in chunks, a loss of all descriptors together. Out: gradients in the network's
parameters, and the loss.

A listwise loss needs every descriptor of the batch at once, but the trunk's activations need not live at
once: (1) describe all chunks without a graph; (2) take the loss and its gradient with respect to the
descriptors; (3) describe each chunk again with a graph and push its rows of that gradient through.
By the chain rule this is the gradient of the direct computation, as long as an image's descriptor does not
depend on which chunk it stands in.

Several processes share the batch out in chunks: stages one and three are each process's own, and between them
stand one gathering of descriptors and one sum of gradients.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from student_trainer.distil.processes import ALONE, Processes
from student_trainer.distil.push import ChunkTerm, Push


@dataclass(frozen=True)
class Chunk:
    """Some images of a batch, of one shape."""

    positions: Tensor
    """long [b]: which rows of the batch these are."""
    images: Tensor
    """float [b, 3, H, W], on the network's device."""


Chunks = Callable[[], Iterable[Chunk]]
"""The chunks of one batch; called once for each pass over it, and the same each time."""


class InexactBackward(ValueError):
    """A layer makes a descriptor depend on its chunk: batch statistics or dropout."""


class BadNumbers(ArithmeticError):
    """NaN, infinity or a zero descriptor; ``rows`` are the positions in the batch it was traced to."""

    def __init__(self, what: str, rows: Sequence[int] = ()) -> None:
        super().__init__(what + (f" (rows {list(rows)[:5]} of the batch)" if rows else ""))
        self.what = what
        self.rows = tuple(rows)


@dataclass(frozen=True)
class Step:
    """What one backward found."""

    loss: float
    gradient_norm: float
    """Euclidean norm of the gradient over all parameters."""


def three_stage_backward(
    network: nn.Module,
    chunks: Chunks,
    batch_size: int,
    loss_of: Callable[[Tensor], Tensor] | None,
    *,
    allow_inexact: bool = False,
    on_chunk: Callable[[int], None] = lambda n: None,
    processes: Processes = ALONE,
    beside: nn.Module | None = None,
    term: ChunkTerm | None = None,
) -> Step:
    """Leave the gradient of ``loss_of(descriptors)``, and of a term's mean, in the parameters' ``.grad``.

    Args:
        network: maps float [b, 3, H, W] to descriptors [b, d].
        chunks: this process's share of the batch, iterated twice; the shares' positions together cover
            0 .. batch_size - 1 once.
        batch_size: B.
        loss_of: descriptors [B, d] -> scalar; None where the term is all there is, and one pass is enough.
        allow_inexact: accept batch norm and dropout in training mode. With these the result is the
            gradient of another objective, in which every chunk is normalised or thinned out by itself.
        on_chunk: told the number of images each time a chunk's second pass is done, and at the end that of
            the other processes' images.
        processes: who shares the batch; all of them leave the same gradient and return the same.
        beside: weights that ``loss_of`` uses of its own; they get their gradient too.
        term: added to the loss; its own weights may be among those beside.

    Raises:
        InexactBackward: a layer would make the result differ from the direct gradient.
        BadNumbers: a descriptor, the loss, or a gradient is not finite, or a descriptor is zero.
    """
    if not allow_inexact:
        refuse_inexact_layers(network)
    loss, gradient = 0.0, None
    if loss_of is not None:
        descriptors = describe_without_graph(network, chunks, batch_size, processes)
        loss, gradient = loss_and_gradient(descriptors, loss_of, beside)
    push = Push(network, gradient, term, batch_size)
    push.zero_grad()
    others = batch_size
    of_term: list[tuple[Tensor, Tensor]] = []
    for chunk in chunks():
        of_term += push(chunk.positions, chunk.images)
        on_chunk(len(chunk.positions))
        others -= len(chunk.positions)
    for part in push.networks:
        processes.sum_gradients(part)
    if others:
        on_chunk(others)
    if term is not None:
        loss += _mean(of_term, batch_size, processes)
    norm = gradient_norm(network, beside)
    if not torch.isfinite(norm):
        rows = processes.union(_rows_to_blame(push, chunks))
        raise BadNumbers("The gradient of the weights is not finite", rows)
    return Step(loss, norm.item())


def refuse_inexact_layers(network: nn.Module) -> None:
    """Check that descriptors do not depend on their chunk.

    Raises:
        InexactBackward: names the layer.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training:
            raise InexactBackward(
                f"Batch norm {name!r} is in training mode: it normalises each chunk by the chunk's own "
                "statistics, which is another objective than the batch's. Freeze it, or allow it explicitly."
            )
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training and layer.p > 0:
            raise InexactBackward(
                f"Dropout {name!r} is active: the second pass would drop other units than the first. "
                "Put it in evaluation mode, or allow it explicitly."
            )


@torch.no_grad()
def describe_without_graph(
    network: nn.Module, chunks: Chunks, batch_size: int, processes: Processes = ALONE
) -> Tensor:
    """Stage 1: descriptors [B, d] of the whole batch, in the batch's order.

    Raises:
        BadNumbers: names the rows.
        ValueError: the chunks do not cover the batch exactly once.
    """
    positions, parts = [], []
    for chunk in chunks():
        positions.append(chunk.positions)
        parts.append(network(chunk.images))
    order = torch.cat(positions) if positions else torch.empty(0, dtype=torch.long)
    own = torch.cat(parts) if parts else next(network.parameters(), torch.empty(0)).new_empty(0, 0)
    order, rows = processes.gather(order, own)
    if not torch.equal(order.sort().values.cpu(), torch.arange(batch_size)):
        raise ValueError(f"The chunks hold {len(order)} rows, not each of the batch's {batch_size} once.")
    descriptors = torch.empty_like(rows)
    descriptors[order] = rows
    _refuse_rows(~torch.isfinite(descriptors).all(dim=1), "A descriptor is not finite")
    _refuse_rows((descriptors == 0).all(dim=1), "A descriptor is zero and has no direction")
    return descriptors


def loss_and_gradient(
    descriptors: Tensor, loss_of: Callable[[Tensor], Tensor], beside: nn.Module | None = None
) -> tuple[float, Tensor]:
    """Stage 2: the loss and its gradient [B, d] with respect to the descriptors.

    The weights ``beside``, which the loss uses of its own, are left with their gradient. Several processes
    compute the same one, since each has all descriptors of the batch.

    Raises:
        BadNumbers: the loss, or rows of the gradient.
    """
    own = [] if beside is None else list(beside.parameters())
    leaf = descriptors.detach().requires_grad_()
    loss = loss_of(leaf)
    if not torch.isfinite(loss):
        raise BadNumbers("The loss is not finite", _rows_that_break(loss, leaf))
    if not loss.requires_grad:  # a batch that leaves nothing to be learned, such as a single image
        _leave(own, [None] * len(own))
        return loss.item(), torch.zeros_like(descriptors)
    found: tuple[Tensor | None, ...] = torch.autograd.grad(loss, [leaf, *own], allow_unused=True)
    gradient = found[0]
    _leave(own, found[1:])
    if gradient is None:
        return loss.item(), torch.zeros_like(descriptors)
    _refuse_rows(~torch.isfinite(gradient).all(dim=1), "The gradient of a descriptor is not finite")
    return loss.item(), gradient


def _rows_that_break(loss: Tensor, leaf: Tensor) -> list[int]:
    """The descriptors whose own gradient of a loss that is not finite is not finite either.

    None, where these are all: then it cannot be said which of them it was.
    """
    if not loss.requires_grad:
        return []
    (gradient,) = torch.autograd.grad(loss, leaf)
    bad = torch.nonzero(~torch.isfinite(gradient).all(dim=1)).flatten().tolist()
    return bad if len(bad) < len(leaf) else []


def gradient_norm(*networks: nn.Module | None) -> Tensor:
    """Euclidean norm of all parameters' gradients, a scalar tensor."""
    parts = (network.parameters() for network in networks if network is not None)
    gradients = [weight.grad for weights in parts for weight in weights if weight.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def _leave(weights: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Zero where the loss did not look at a weight, so that an optimiser treats all steps alike."""
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = torch.zeros_like(weight) if gradient is None else gradient


def _mean(found: Sequence[tuple[Tensor, Tensor]], batch_size: int, processes: Processes) -> float:
    """The term's mean over the batch, of its losses in every process."""
    losses = torch.cat([losses for _, losses in found]) if found else torch.empty(0)
    bad = ~torch.isfinite(losses)
    own = torch.cat([positions for positions, _ in found])[bad].tolist() if bad.any() else []
    rows = processes.union(own)
    if rows:
        raise BadNumbers("The loss of feature maps is not finite", rows)
    return processes.total(losses.double().sum().item()) / batch_size


def _rows_to_blame(push: Push, chunks: Chunks) -> list[int]:
    """Which images' own contribution to the weights' gradient is not finite; slow, only after a failure."""
    rows = []
    for chunk in chunks():
        for position, image in zip(chunk.positions, chunk.images, strict=True):
            push.zero_grad()
            push(position[None], image[None])
            if not torch.isfinite(gradient_norm(*push.networks)):
                rows.append(int(position))
    return rows


def _refuse_rows(bad: Tensor, what: str) -> None:
    if bad.any():
        raise BadNumbers(what, torch.nonzero(bad).flatten().tolist())
