"""Hard negatives: the images that the student, as it is now, takes for an anchor's own although they are not.

In: a student, images, and the draw of an epoch. Out: the epoch's tuples, and how hard they are.

Source: Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (2018): the
most similar images of the pool, at most one of each label, so that one confusing place is not all that is
seen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from shared.batch_norm import modes_kept
from student_trainer.distil.backward import BadNumbers, Chunk, describe_without_graph
from student_trainer.distil.batches import BatchSource, Rows
from student_trainer.distil.descriptors import full_precision, unit_rows
from student_trainer.distil.preflight import some_names
from student_trainer.distil.tuples.draws import TupleDraws
from student_trainer.distil.tuples.schedule import Mined
from student_trainer.errors import TrainingFailed

_ANCHORS_AT_A_TIME = 256
"""Their similarities to a pool of 22,000 images take 23 MB."""


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
) -> tuple[Mined, Findings]:
    """The tuples of an epoch (counted from 1) for the student ``network``, which is left as it was.

    Several processes share the describing; the first one's choice is everybody's, since one similarity that
    is rounded differently elsewhere would let them train on different images.

    Raises:
        TrainingFailed: a descriptor is zero or not finite; names the images.
    """
    draw = draws.draw(epoch)
    anchors = draw.pairs[:, 0]
    rows = np.union1d(anchors, draw.pool)
    units = unit_rows(_describe(network, source, rows, epoch, on_images), "student")

    def of(some: Rows) -> tuple[Tensor, Tensor]:
        """Their descriptors and labels."""
        places, labels = torch.from_numpy(np.searchsorted(rows, some)), torch.from_numpy(draws.labels[some])
        return units[places.to(units.device)], labels.to(units.device)

    def choose() -> tuple[Rows, float]:
        places, cosines = hardest_negatives(*of(anchors), *of(draw.pool), draws.mining.negatives)
        return draw.pool[places.cpu().numpy()], cosines.mean().item()

    negatives, similarity = source.processes.from_first(choose)
    mined = Mined(epoch, np.concatenate([draw.pairs, negatives], axis=1))
    return mined, Findings(len(rows), len(anchors), similarity)


def hardest_negatives(
    anchors: Tensor, anchor_labels: Tensor, pool: Tensor, pool_labels: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """For each anchor the most similar image of the pool that has another label, ``count`` times.

    Each time the label of what was taken is struck out. Of equally similar images the first is taken.

    Args:
        anchors: unit rows [A, d].
        anchor_labels: long [A].
        pool: unit rows [P, d], with images of at least ``count`` labels beside each anchor's own.
        pool_labels: long [P].
        count: N.

    Returns:
        Places in the pool, long [A, N], the hardest first; and their cosines [A, N].
    """
    parts = []
    for start in range(0, len(anchors), _ANCHORS_AT_A_TIME):
        block = slice(start, start + _ANCHORS_AT_A_TIME)
        with full_precision(pool.device):
            similarity = anchors[block] @ pool.T
        parts.append(_strike_out(similarity, anchor_labels[block], pool_labels, count))
    picked, cosines = zip(*parts, strict=True)
    return torch.cat(picked), torch.cat(cosines)


def _strike_out(similarity: Tensor, own: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The same for one block [A, P], which is used up."""
    picked: list[Tensor] = []
    cosines: list[Tensor] = []
    struck = own
    for _ in range(count):
        similarity.masked_fill_(labels == struck[:, None], -torch.inf)
        cosine, place = similarity.max(dim=1)
        picked.append(place)
        cosines.append(cosine)
        struck = labels[place]
    return torch.stack(picked, dim=1), torch.stack(cosines, dim=1)


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
