"""Numbers as people read them: shares in percent, differences in points.

In: numbers. Out: texts.
"""

from collections.abc import Sequence

from student_trainer.reproduce.claims import Difference

NOTHING = "–"


def points(gap: Difference) -> str:
    """``+1.2 [-0.3, +2.7]``, in points."""
    around = f" [{signed(100 * gap.interval[0])}, {signed(100 * gap.interval[1])}]" if gap.interval else ""
    return f"{signed(100 * gap.mean)}{around}"


def signed(value: float) -> str:
    """One decimal with its sign; what rounds to nothing has none."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def percent(value: float) -> str:
    """``43.9``."""
    return f"{100 * value:.1f}"


def plain(value: float) -> str:
    """``54.3``, ``1,800,000``."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def spanned(numbers: Sequence[int]) -> str:
    """``481 to 500``, of ascending numbers."""
    low, high = numbers[0], numbers[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
