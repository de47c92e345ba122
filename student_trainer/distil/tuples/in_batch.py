"""Tuples out of one labelled batch, for whoever has no epochs to mine in.

In: unit descriptors of a batch, by the student and by whoever describes the pool, and labels. Out: places of
anchors, positives and hard negatives in the batch. Nothing is drawn: the same batch gives the same tuples.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from student_trainer.distil.labels.of_batch import has_label
from student_trainer.distil.tuples.hardest import hardest_negatives


@dataclass(frozen=True)
class BatchTuples:
    """Places in the batch; T is 0 where no two images have the same label."""

    anchors: Tensor
    """long [T]: every image whose label another one has."""
    positives: Tensor
    """long [T]: for each the next image of its label, for the last one the first."""
    negatives: Tensor
    """long [T, N]: the hardest, no two of the same label; N is less than asked for where labels are few."""


@torch.no_grad()
def tuples_of_batch(queries: Tensor, pool: Tensor, labels: Tensor, negatives: int) -> BatchTuples:
    """The tuples of a batch; images labelled -1 are in none.

    Args:
        queries: unit rows [B, D], as anchors are described.
        pool: unit rows [B, D] of the same images, as positives and negatives are.
        labels: long [B], on the same device.
        negatives: wanted for each anchor.
    """
    labelled = torch.nonzero(has_label(labels)).flatten()
    # By label, and within a label in the batch's order.
    places = labelled[torch.argsort(labels[labelled], stable=True)]
    _, label, counts = torch.unique_consecutive(labels[places], return_inverse=True, return_counts=True)
    starts, counts_here = (counts.cumsum(0) - counts)[label], counts[label]
    following = starts + (torch.arange(len(places), device=places.device) - starts + 1) % counts_here
    paired = counts_here > 1
    anchors, positives = places[paired], places[following[paired]]
    wanted = min(negatives, max(len(counts) - 1, 0))
    if not len(anchors) or not wanted:
        return BatchTuples(anchors, positives, anchors.new_empty(len(anchors), 0))
    found, _ = hardest_negatives(queries[anchors], labels[anchors], pool[labelled], labels[labelled], wanted)
    return BatchTuples(anchors, positives, labelled[found])
