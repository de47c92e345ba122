"""The images of a pool that are most easily taken for an anchor's own although they are not.

In: unit descriptors of anchors and of a pool, in one space, and their labels. Out: places in the pool.

Source: Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (2018): the
most similar images of the pool, at most one of each label, so that one confusing place is not all that is
seen.
"""

import torch
from torch import Tensor

from student_trainer.distil.descriptors import full_precision

_ANCHORS_AT_A_TIME = 256
"""Their similarities to a pool of 22,000 images take 23 MB."""


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
