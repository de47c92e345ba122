"""Whether more queries look worth buying, from the last step of the curve and nothing else.

In: qualities by size and seed. Out: an answer, its expected gain with an interval, and one sentence.

Quality is taken to grow with the logarithm of the queries at the rate of the last step (from the second
largest size to the largest), seed by seed on the same nested images. Curves flatten, so this errs on the
side of buying, and no further than one doubling: beyond that it would be guesswork. The interval is
Student's t over seeds. A saturating curve has three parameters; three or four sizes do not fix them.
"""

import math
from collections.abc import Mapping
from statistics import fmean

from student_trainer.curve.document import Answer, Verdict
from student_trainer.trials.seeds import WORTHWHILE, interval

NEXT = 1_000


def judge(qualities: Mapping[int, Mapping[int, float]], name: str, before: float | None = None) -> Verdict:
    """Judge the next queries.

    Args:
        qualities: size -> seed -> quality.
        name: of quality, for the sentence.
        before: quality of the student before its first step. A student that is no better after all its
            queries is named, because then more of them are not the first thing to change.
    """
    verdict = _slope(qualities, name)
    best = fmean(qualities[max(qualities)].values())
    if before is None or best > before:
        return verdict
    warning = (
        f"But with all {max(qualities):,} the student is no better than before ({best:.3f} against "
        f"{before:.3f}): look at the recipe first."
    )
    return verdict.model_copy(update={"sentence": f"{verdict.sentence} {warning}"})


def _slope(qualities: Mapping[int, Mapping[int, float]], name: str) -> Verdict:
    last = max(qualities)
    more = min(NEXT, last)
    if len(qualities) < 2:
        return _cannot_tell(more, f"one size shows no slope: give --sizes with {last:,} and a smaller one.")
    previous = sorted(qualities)[-2]
    shared = sorted(qualities[last].keys() & qualities[previous].keys())
    doublings = math.log((last + more) / last) / math.log(last / previous)
    gains = [doublings * (qualities[last][seed] - qualities[previous][seed]) for seed in shared]
    if (around := interval(gains)) is None:
        return _cannot_tell(more, "one seed shows no spread: give --seeds 3 or more.")
    gain, (low, high) = fmean(gains), around
    facts = f"{gain:+.3f} {name} expected ({low:+.3f} to {high:+.3f}, {len(gains)} seeds)"
    answer = _answer(gain, low, high)
    basis = f"at the rate at which quality grew from {previous:,} to {last:,}"
    sentence = {
        "worth buying": f"The next {more:,} queries look worth buying: {facts}, {basis}.",
        "not worth buying": f"The next {more:,} queries do not look worth buying: {facts}, {basis}.",
        "cannot tell": f"Cannot tell whether the next {more:,} queries are worth buying: {facts}, {basis}. "
        "More seeds narrow this: --seeds.",
    }[answer]
    return Verdict(answer=answer, sentence=sentence, more=more, gain=gain, interval=(low, high))


def _answer(gain: float, low: float, high: float) -> Answer:
    if low > 0 and gain >= WORTHWHILE:
        return "worth buying"
    return "not worth buying" if high < WORTHWHILE else "cannot tell"


def _cannot_tell(more: int, why: str) -> Verdict:
    sentence = f"Cannot tell whether the next {more:,} queries are worth buying: {why}"
    return Verdict(answer="cannot tell", sentence=sentence, more=more)
