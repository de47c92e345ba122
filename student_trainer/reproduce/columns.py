"""One of the numbers that a table shows of a network.

In: its name, and what it is. Out: a record, as measures announce it and results keep it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One of the numbers."""

    name: str
    """Where the paper has it too, by the paper's name (``ROxf M``)."""
    words: str
    """What it is."""
    tested: bool = True
    """Whether claims are tested on it."""
    share: bool = True
    """Between 0 and 1, and printed in percent."""
    protocol: str = ""
    """On a benchmark, what its protocol takes: ``mAP, trapezoidal``; the name says only on which queries."""
    key: str = ""
    """Under which its number is kept, where that is not its name."""

    @property
    def heading(self) -> str:
        """The name, and by what it is measured."""
        said = [part for part in (self.protocol, "%" if self.share else "") if part]
        return f"{self.name} ({', '.join(said)})" if said else self.name

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.key or self.name)
