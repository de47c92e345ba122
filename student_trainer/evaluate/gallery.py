"""Which images ask and which are searched, checked before any network runs.

In: the entries of a labelled manifest. Out: paths and labels, and who is query and who is database.

Entries marked ``query`` rank the entries that are not. Where none is marked, every image ranks all the
others (leave-one-out). In both cases no query is to find itself: the images of the database that are the
same file, or have the same bytes under another name, stand in ``own_places``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from student_trainer.datasets.manifest import Entry, Label
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.relevance import Relevance, relevance, what_is_relevant
from student_trainer.evaluate.same_bytes import Places, places_among

NAMED_AT_MOST = 5


@dataclass(frozen=True)
class Gallery:
    """The images of an evaluation; each is described once, whatever it is used for."""

    paths: tuple[Path, ...]
    labels: tuple[Label, ...]
    queries: NDArray[np.int64]
    """[Q] places in ``paths``."""
    database: NDArray[np.int64]
    """[N] places in ``paths``."""
    leave_one_out: bool
    own_places: tuple[Places, ...]
    """Per query where its own image stands in the database, with all its copies; empty where it does not."""

    @property
    def queries_with_copies(self) -> int:
        """Queries whose image stands in the database once more than the protocol has it there."""
        return sum(len(places) > self.leave_one_out for places in self.own_places)

    @property
    def query_labels(self) -> list[Label]:
        """Q labels."""
        return [self.labels[place] for place in self.queries]

    @property
    def database_labels(self) -> list[Label]:
        """N labels."""
        return [self.labels[place] for place in self.database]

    @property
    def several_labels(self) -> bool:
        """Whether images may have several."""
        return not all(isinstance(label, str) for label in self.labels)

    @property
    def relevant_means(self) -> str:
        """What makes an image relevant to a query, in words."""
        return what_is_relevant(several_labels=self.several_labels)

    @cached_property
    def relevance(self) -> Relevance:
        """Which images of the database each query should find."""
        return relevance(self.query_labels, self.database_labels)


def gallery_of(entries: Sequence[Entry]) -> Gallery:
    """Split a manifest into queries and database.

    Raises:
        InvalidInput: fewer than two images, an entry without a label, a label that all have, no image to
            search, or files that are missing (their number, and the first five by name) or cannot be read.
    """
    if len(entries) < 2:
        raise InvalidInput(
            f"An evaluation needs at least 2 images, the manifest (or its split) has {len(entries)}."
        )
    labels = tuple(entry.label for entry in entries if entry.label is not None)
    if len(labels) < len(entries):
        first = next(entry.path for entry in entries if entry.label is None)
        raise InvalidInput(
            f"{len(entries) - len(labels):,} of {len(entries):,} images have no label, the first is {first}. "
            "Scores need to know which images show the same thing: add a column 'label' to the manifest."
        )
    _check_files(entries)
    is_query = np.array([entry.is_query for entry in entries])
    if is_query.all():
        raise InvalidInput(
            f"All {len(entries):,} images are marked as queries, so none is left to search. "
            "Mark some with query = 0, or drop the column to let every image rank the others."
        )
    shared = set.intersection(*({label} if isinstance(label, str) else set(label) for label in labels))
    if shared:
        raise InvalidInput(
            f"All {len(entries):,} images have the label {min(shared)!r}: each is relevant to each, so "
            "nothing can be ranked wrongly. An evaluation needs images of different things."
        )
    leave_one_out = not is_query.any()
    everything = np.arange(len(entries))
    queries = everything if leave_one_out else np.flatnonzero(is_query)
    database = everything if leave_one_out else np.flatnonzero(~is_query)
    paths = tuple(entry.path for entry in entries)
    return Gallery(
        paths=paths,
        labels=labels,
        queries=queries,
        database=database,
        leave_one_out=leave_one_out,
        own_places=places_among([paths[place] for place in queries], [paths[place] for place in database]),
    )


def _check_files(entries: Sequence[Entry]) -> None:
    missing = [entry.path for entry in entries if not entry.path.is_file()]
    if missing:
        named = "\n  ".join(str(path) for path in missing[:NAMED_AT_MOST])
        more = f"\n  and {len(missing) - NAMED_AT_MOST:,} more" if len(missing) > NAMED_AT_MOST else ""
        raise InvalidInput(
            f"{len(missing):,} of {len(entries):,} images of the manifest are missing; an evaluation without "
            f"them would not be the one you asked for:\n  {named}{more}"
        )
