"""What quality means in a comparison, for people.

In: a name and a sentence. Out: a record, as yardsticks announce it and documents keep it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """What a yardstick is, for people."""

    name: str
    """On the axis, such as ``overlap@10``."""
    sentence: str
    images: int
    """Images that are measured on."""
