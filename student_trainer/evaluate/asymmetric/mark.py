"""How an evaluation says whether a student may ask a teacher's database.

In: the fields below. Out: a part of the evaluation document, and the same in words.
"""

from typing import Literal, TypeAlias

from student_trainer.evaluate.protocol import Part

Way: TypeAlias = Literal["own descriptors", "its projection", "a map learned afterwards"]
"""By which a student's queries reach the teacher's database."""
OWN: Way = "own descriptors"
PROJECTION: Way = "its projection"
MAPPED: Way = "a map learned afterwards"


class Mark(Part):
    """Whether a student's training brought it into the teacher's space."""

    fit: bool
    way: Way | None
    """By which it asks the teacher's database as it was trained; None where it is unfit."""
    why: str

    @property
    def word(self) -> str:
        """For a column."""
        return "fit" if self.fit else "unfit"

    @property
    def sentence(self) -> str:
        """In words, of a student that is named before."""
        how = f"fit for asymmetric search by {self.way}" if self.fit else "unfit for asymmetric search"
        return f"{how}: {self.why}"
