"""What a few trainings that differ by chance say together.

In: one number for each seed. Out: the interval of their mean.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

WORTHWHILE = 0.005
"""Half a point of quality: a gain that is surely below it is worth nothing, one surely above 0 may be."""
_T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Two-sided 95 % of Student's t, for 1 to 30 degrees of freedom."""


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean by Student's t; None for a single value."""
    if len(values) < 2:
        return None
    reach = _T_95[min(len(values) - 1, len(_T_95)) - 1] * stdev(values) / math.sqrt(len(values))
    return fmean(values) - reach, fmean(values) + reach
