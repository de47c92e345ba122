"""The first few of many names, as messages list them.

In: names, such as paths. Out: a half sentence.
"""

from collections.abc import Sequence


def some_names(names: Sequence[object], at_most: int = 5) -> str:
    """``a, b, c, d, e and 1,002 more``: each as its ``str``, joined by commas."""
    more = f" and {len(names) - at_most:,} more" if len(names) > at_most else ""
    return ", ".join(str(name) for name in names[:at_most]) + more
