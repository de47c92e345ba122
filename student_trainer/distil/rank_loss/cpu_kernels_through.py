"""What gradient through mixtures (Table 6) adds to the compiled loops of ``cpu_kernels``.

In: a batch's codes and tables of derivatives after a round, and the round's weights. Out: coefficients of
originals, written in place.

With W the mixing matrix, M = W F, H the derivatives in mixtures to originals and H' in mixtures to mixtures,
dL/dM = H F + H' M. Normalisation takes its radial part away; what is left goes to the parents:
W^T H F + W^T H' W F - W^T diag(dL/dM . M) W F. The caller adds the transpose of all coefficients, which
yields W^T H from what is there; so the second term, symmetric, is halved here, and of the third only the
entries (k, r_k) are written: it has no others off the diagonal, and the diagonal is radial.
"""

from typing import Any

import numpy as np

from student_trainer.distil.rank_loss.machine_code import compiled


@compiled
def between_mixtures(start: Any, stop: Any, batch: Any, mixing: Any, between: Any, radial: Any) -> None:  # noqa: PLR0917
    """Fill rows of H' W / 2 (``between`` [B, B], zeros before) and of dL/dM . M (``radial`` [B])."""
    images, slopes, mixed_slopes = len(batch.codes), batch.slopes, batch.mixed_slopes
    mixed = np.empty(images, batch.similarity.dtype)
    for k in range(start, stop):
        p = mixing.partners[k]
        radial[k] = 0.0
        for o in range(images):
            mixed[o] = mixing.own[k] * batch.similarity[k, o] + mixing.other[k] * batch.similarity[p, o]
            code = batch.codes[o, k]
            radial[k] += (mixed_slopes[k, code] + slopes[o, code]) * mixed[o]
        for m in range(images):
            if m != k:
                r, code = mixing.partners[m], batch.square_codes[k, m]
                slope = mixed_slopes[k, code] + mixed_slopes[m, code]
                radial[k] += slope * (mixing.own[m] * mixed[m] + mixing.other[m] * mixed[r])
                between[k, m] += slope * mixing.own[m] / 2
                between[k, r] += slope * mixing.other[m] / 2


@compiled
def spread(start: Any, stop: Any, mixing: Any, between: Any, radial: Any, coefficients: Any) -> None:  # noqa: PLR0917
    """Add W^T ``between`` to ``coefficients``, and the radial part; the range is one of columns."""
    for k in range(len(between)):
        p = mixing.partners[k]
        for z in range(start, stop):
            coefficients[k, z] += mixing.own[k] * between[k, z]
        for z in range(start, stop):
            coefficients[p, z] += mixing.other[k] * between[k, z]
        if start <= p < stop:
            coefficients[k, p] -= radial[k] * mixing.own[k] * mixing.other[k]
