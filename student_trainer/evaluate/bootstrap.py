"""How sure a mean over queries is: percentile bootstrap intervals.

In: one score per query. Out: the interval in which 95 % of resampled means lie. No I/O.

Queries are resampled, models are not: an interval says how much the choice of queries matters, not
how much a second training run would differ.
"""

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95
SEED = 0
_INDICES_AT_ONCE = 2**16


def interval(scores: NDArray[np.float64], draws: int = DRAWS, seed: int = SEED) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of ``scores`` [Q].

    The same seed draws the same queries for every model, so pass the differences of two models' scores
    to compare them query by query.

    Raises:
        ValueError: no scores, or one that is not finite.
    """
    if not len(scores) or not np.isfinite(scores).all():
        raise ValueError(f"An interval needs finite scores, got {len(scores)} with gaps or none at all.")
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    at_once = max(1, _INDICES_AT_ONCE // len(scores))
    for start in range(0, draws, at_once):  # draws x Q indices would not be bounded
        some = means[start : start + at_once]
        some[:] = scores[generator.integers(0, len(scores), (len(some), len(scores)))].mean(axis=1)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
