"""A split of a public set: its images with their labels, and how far it is what was published.

In: entries as a reader found them. Out: the same for planning, training and evaluating, and what differs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from student_trainer.datasets.labelled.catalogue import LABELLED, LabelledSet, Published
from student_trainer.datasets.manifest import Entry, Label
from student_trainer.errors import InvalidInput


@dataclass(frozen=True)
class LabelledSplit:
    """The images of a split, in the order of the set."""

    name: str
    """Of the set."""
    root: Path
    """The set's own folder."""
    split: str
    entries: tuple[Entry, ...]
    """Each with its label or labels; queries are marked where some ask and others are searched."""
    image_folders: tuple[Path, ...]
    """What the archives of images unpack to."""
    pixels: NDArray[np.uint8] | None = None
    """[n, H, W, 3] where the set holds arrays and no files: then the entries' files are yet to be written."""
    arrays_in: tuple[Path, ...] = ()
    """The files that hold these arrays."""

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def known(self) -> LabelledSet:
        """What is published of the set."""
        return LABELLED[self.name]

    @property
    def words(self) -> str:
        """``cub200, split train``."""
        return f"{self.name}, split {self.split}"

    @property
    def paths(self) -> tuple[Path, ...]:
        """n files, whether they are there or not."""
        return tuple(entry.path for entry in self.entries)

    @property
    def classes(self) -> int:
        """How many different labels its images have."""
        return len({name for entry in self.entries for name in names_of(entry.label)})

    @property
    def queries(self) -> int:
        """Images that ask, where not all do."""
        return sum(entry.is_query for entry in self.entries)

    @property
    def files(self) -> tuple[Path, ...]:
        """What has to be on the disk: each image once, or the files of arrays."""
        return self.arrays_in or tuple(dict.fromkeys(self.paths))

    @property
    def names_differ(self) -> bool:
        """Whether a file's name alone says which image it is."""
        return len({path.name for path in self.paths}) == len(self.entries)

    @property
    def counts(self) -> Published:
        """What it holds."""
        return Published(len(self), self.classes, self.queries)

    def difference(self) -> str | None:
        """Where it is not what was published, in words."""
        here, public = self.counts, self.known.splits[self.split]
        if here == public:
            return None
        return f"{self.words}, was published with {public.in_words()}; here are {here.in_words()}."


def names_of(label: Label | None) -> tuple[str, ...]:
    """One label or several as several; none as none."""
    if label is None:
        return ()
    return (label,) if isinstance(label, str) else label


def checked_split(known: LabelledSet, split: str) -> str:
    """The name of a split that the set has.

    Raises:
        InvalidInput: it has none of that name.
    """
    if split not in known.splits:
        raise InvalidInput(f"{known.name} has no split {split!r}; choose from: {', '.join(known.splits)}.")
    return split
