"""Whether a claim held, from measurements that are paired seed by seed.

In: what two rows measured, by seed; of a claim about two gains, four rows. Out: held, not held or cannot
tell, with the mean difference and its interval.

The rule: the difference is taken for every seed that both rows have, on the same images and the same start,
and its mean has a 95 % interval by Student's t. A claim that one row is better has held where the whole
interval lies above 0, and has not where it lies below half a point, a gain not worth having. A claim that
states how much has held where the whole interval lies above it, and has not where it lies below. Otherwise,
and with one seed, nobody can tell; nor where all seeds differ by exactly as much, since then chance was not
at work, or where a row learned nothing. A row without seeds, such as the teacher, stands beside every seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from student_trainer.trials.seeds import WORTHWHILE, interval

Answer = Literal["held", "not held", "cannot tell"]
BySeed = Mapping[int | None, float]
"""Seed -> value; None is the one value of a network that has no seed."""

_PLACES = 12
"""Of a difference that count: what lies behind is rounding, 0.4 - 0.2 is 0.3 - 0.1."""

RULE = (
    "Differences are taken seed by seed, on the same images, and their mean has a 95 % interval by Student's "
    f"t. Held: the interval lies above 0. Not held: it lies below +{100 * WORTHWHILE:g} points, a gain not "
    "worth having. Where a claim states how much, both bounds are that. Otherwise, and with "
    "one seed: cannot tell; nor where all seeds differ by exactly as much, or a row learned nothing."
)


@dataclass(frozen=True)
class Difference:
    """One row minus another."""

    mean: float
    interval: tuple[float, float] | None
    """95 %; None with one seed."""
    seeds: int

    @property
    def doubt(self) -> str:
        """Why nobody can tell, whatever is claimed; empty where an interval may say."""
        if self.interval is None:
            return "one seed shows no spread"
        low, high = self.interval
        return "all seeds differ by exactly as much, which shows no spread" if low == high else ""

    def answer(self, at_least: float | None = None) -> Answer:
        """Whether it is above ``at_least``, or above 0 at all."""
        if self.interval is None or self.doubt:
            return "cannot tell"
        low, high = self.interval
        if low > (at_least or 0.0):
            return "held"
        return "not held" if high < (WORTHWHILE if at_least is None else at_least) else "cannot tell"


def paired(better: BySeed, than: BySeed) -> dict[int | None, float]:
    """The difference for every seed that both have."""
    if None in better and None in than:
        return {None: round(better[None] - than[None], _PLACES)}
    seeds = {*better, *than} - {None}
    return {
        seed: round(_at(better, seed) - _at(than, seed), _PLACES)
        for seed in sorted(seeds, key=lambda seed: seed or 0)
        if _has(better, seed) and _has(than, seed)
    }


def difference(
    better: BySeed, than: BySeed, more_than: tuple[BySeed, BySeed] | None = None
) -> Difference | None:
    """Of two rows, or of two gains; None where no seed has both."""
    gains = paired(better, than)
    if more_than is not None:
        gains = paired(gains, paired(*more_than))
    if not gains:
        return None
    values = list(gains.values())
    return Difference(fmean(values), interval(values), len(values))


def _has(values: BySeed, seed: int | None) -> bool:
    return seed in values or None in values


def _at(values: BySeed, seed: int | None) -> float:
    return values[seed] if seed in values else values[None]
