"""A few queries worth looking at, chosen by rule and not by hand.

In: every query's step AP under the student, before and after. Out: which queries, and why each.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

GAINED, LOST, TYPICAL = "gained most", "lost most", "typical"
GAINED_COUNT, LOST_COUNT, TYPICAL_COUNT = 3, 1, 2
RULE = (
    f"the {GAINED_COUNT} queries whose step AP the distillation raised most, the one that it lowered most "
    f"(if any), and {TYPICAL_COUNT} whose step AP under the student is nearest to the median; of different "
    "labels where possible, ties by the order of the manifest"
)
"""How the examples are chosen, in words; stands beside them in the report."""


def choose(
    after: NDArray[np.float64], before: NDArray[np.float64] | None, labels: Sequence[str]
) -> list[tuple[int, str]]:
    """Pick at most six queries.

    Args:
        after: [Q] step AP under the student; NaN where a query has no relevant image.
        before: [Q] the same before distillation, or None where that student is not there.
        labels: Q labels.

    Returns:
        (query, why) pairs, in the order of :data:`RULE`.
    """
    scored = np.flatnonzero(~np.isnan(after))
    chosen: dict[int, str] = {}
    if before is not None:
        gain = after - before
        rising = scored[np.argsort(-gain[scored], kind="stable")]
        _take(chosen, (int(query) for query in rising if gain[query] > 0), GAINED, GAINED_COUNT, labels)
        _take(chosen, (int(query) for query in rising[::-1] if gain[query] < 0), LOST, LOST_COUNT, labels)
    if len(scored):
        distance = np.abs(after[scored] - np.median(after[scored]))
        central = scored[np.argsort(distance, kind="stable")]
        _take(chosen, (int(query) for query in central), TYPICAL, TYPICAL_COUNT, labels)
    return list(chosen.items())


def _take(
    chosen: dict[int, str], candidates: Iterable[int], why: str, count: int, labels: Sequence[str]
) -> None:
    """Add the first ``count`` candidates, those of a label not shown yet before the others."""
    free = [query for query in candidates if query not in chosen]
    for fresh_labels_only in (True, False):
        for query in free:
            shown = {labels[other] for other in chosen}
            if sum(reason == why for reason in chosen.values()) == count:
                return
            if query not in chosen and not (fresh_labels_only and labels[query] in shown):
                chosen[query] = why
