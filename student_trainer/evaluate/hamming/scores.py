"""What codes are worth on a gallery: mean average precision by Hamming distance, fair to ties.

In: a hash layer, the descriptors of a gallery, its labels. Out: the scores as the evaluation document has
them.
"""

import numpy as np
from numpy.typing import NDArray

from shared.multiply_adds import parameter_count
from student_trainer.distil.heads import Head
from student_trainer.evaluate.bootstrap import interval
from student_trainer.evaluate.gallery import Gallery
from student_trainer.evaluate.hamming.hash_layers import codes_of
from student_trainer.evaluate.hamming.line import HammingScores
from student_trainer.evaluate.hamming.precision import tie_aware_ap, tie_aware_ap_at_k
from student_trainer.evaluate.hamming.search import count_by_distance

CUTS = (100, 1_000, 5_000)
"""The k of mAP@k; the literature takes 1,000 and 5,000 images."""


def score_gallery(
    layer: Head,
    rows: NDArray[np.float32],
    gallery: Gallery,
    parameters: int,
    multiply_adds: int | None,
) -> HammingScores:
    """The scores of a student's codes.

    Args:
        layer: its hash layer.
        rows: its unit descriptors of all images of the gallery, [n, d].
        gallery: at least one query has a relevant image.
        parameters: the student's.
        multiply_adds: the student's, for one image; None where they are not known.
    """
    codes, bits = codes_of(layer, rows), layer.out_dim
    counts = count_by_distance(
        codes[gallery.queries],
        codes[gallery.database],
        bits,
        gallery.relevance,
        gallery.own_places,
    )
    images, relevant = counts.sum(axis=1), counts[:, 1]
    scored = relevant.any(axis=1)
    aps = tie_aware_ap(images, relevant)[scored]
    ranked = int(images.sum(axis=1).min())
    return HammingScores(
        bits=bits,
        map=float(aps.mean()),
        map_interval=interval(aps),
        map_at={k: float(tie_aware_ap_at_k(images, relevant, k)[scored].mean()) for k in CUTS if k < ranked},
        parameters=parameters + parameter_count(layer),
        multiply_adds=None if multiply_adds is None else multiply_adds + layer.in_dim * bits,
    )
