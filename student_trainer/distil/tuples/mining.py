"""Hard negatives: the images that the student, as it is now, takes for an anchor's own although they are not.

In: a student, images, and the draw of an epoch. Out: the epoch's tuples, and how hard they are. The pool is
described by the student, or by the teacher, from what was bought: then the student describes anchors alone,
and takes the teacher's description of another place for its own (Budnik and Avrithis 2020).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from shared.batch_norm import modes_kept
from student_trainer.distil.backward import BadNumbers, Chunk, describe_without_graph
from student_trainer.distil.batches import BatchSource, Rows
from student_trainer.distil.descriptors import unit_rows
from student_trainer.distil.tuples.draws import TupleDraws
from student_trainer.distil.tuples.hardest import hardest_negatives
from student_trainer.distil.tuples.schedule import Mined
from student_trainer.errors import TrainingFailed
from student_trainer.naming import some_names


@dataclass(frozen=True)
class Findings:
    """What mining found, for the curve."""

    described: int
    """Images."""
    anchors: int
    negative_similarity: float
    """Mean cosine of an anchor and a negative: it falls as the student learns."""


def mine(
    network: nn.Module,
    source: BatchSource,
    draws: TupleDraws,
    epoch: int,
    on_images: Callable[[int], None] = lambda n: None,
    *,
    into_teachers_space: Callable[[Tensor], Tensor] = lambda units: units,
) -> tuple[Mined, Findings]:
    """The tuples of an epoch (counted from 1) for the student ``network``, which is left as it was.

    Several processes share the describing; the first one's choice is everybody's, since one similarity that
    is rounded differently elsewhere would let them train on different images.

    Args:
        network: describes images.
        source: of the images, and of their bought descriptors where ``draws.mining.by_teacher``.
        draws: anchors, positives and pools.
        epoch: which one.
        on_images: told how many images were described.
        into_teachers_space: brings the student's unit rows to where they are compared with the teacher's.

    Raises:
        TrainingFailed: a descriptor is zero or not finite; names the images.
    """
    draw, by_teacher = draws.draw(epoch), draws.mining.by_teacher
    anchors = draw.pairs[:, 0]
    rows = np.unique(anchors) if by_teacher else np.union1d(anchors, draw.pool)
    units = unit_rows(_describe(network, source, rows, epoch, on_images), "student")

    def by_student(some: Rows) -> Tensor:
        return units[torch.from_numpy(np.searchsorted(rows, some)).to(units.device)]

    def labels(some: Rows) -> Tensor:
        return torch.from_numpy(draws.labels[some]).to(units.device)

    @torch.no_grad()
    def choose() -> tuple[Rows, float]:
        queries, pool = (
            by_student(anchors),
            _bought(source, draw.pool) if by_teacher else by_student(draw.pool),
        )
        if by_teacher:
            queries = into_teachers_space(queries)
        places, cosines = hardest_negatives(
            queries, labels(anchors), pool, labels(draw.pool), draws.mining.negatives
        )
        return draw.pool[places.cpu().numpy()], cosines.mean().item()

    negatives, similarity = source.processes.from_first(choose)
    mined = Mined(epoch, np.concatenate([draw.pairs, negatives], axis=1))
    return mined, Findings(len(rows), len(anchors), similarity)


def _bought(source: BatchSource, rows: Rows) -> Tensor:
    """The teacher's descriptors of some rows, unit rows [n, D]."""
    teacher = source.teacher(rows)
    assert teacher is not None  # checked before anything was decoded
    return unit_rows(teacher, "teacher")


def _describe(
    network: nn.Module, source: BatchSource, rows: Rows, epoch: int, on_images: Callable[[int], None]
) -> Tensor:
    """Descriptors [n, d] of some rows, without a graph."""

    def chunks() -> Iterator[Chunk]:
        for chunk in source.chunks(rows):
            yield chunk
            on_images(len(chunk.positions))

    try:
        with modes_kept(network):
            network.eval()
            return describe_without_graph(network, chunks, len(rows), source.processes)
    except BadNumbers as error:
        names = some_names(source.names(rows, error.rows))
        raise TrainingFailed(
            f"Mining for epoch {epoch}: {error.what}; look at {names}. The last checkpoint is kept. "
            "A lower learning rate usually helps: --restart --set training.learning_rate=..."
        ) from None
