"""One network on a landmark benchmark: described, whitened, searched and scored.

In: a network's way of describing images, a benchmark, and what is done with its descriptors. Out: the scores
of every query in every setup, and the best images of each. The steps stand in the order in which
descriptors meet them: whiten, augment the database, expand the queries, rank, score.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.learned_whitening import LearnedWhitening
from student_trainer.datasets.ground_truth import Benchmark
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.describing import Sight
from student_trainer.evaluate.ranking import Float32Rows, Ranks
from student_trainer.evaluate.revisited import HEADLINE, SETUPS, SetupScores, graded, ignored, score
from student_trainer.evaluate.search.blocks import Rows
from student_trainer.evaluate.search.exact import ranks_of, top_k
from student_trainer.evaluate.search.expansion import Expansion, augment_database, expand_queries
from student_trainer.evaluate.search.stored import Changed, Joined
from student_trainer.evaluate.whitening_sources import WhiteningSource

SHOWN = 10
"""Images that are kept of every query's ranking."""


@dataclass(frozen=True)
class Options:
    """What is done with descriptors beside comparing them; InvalidInput for what cannot be combined."""

    whitening: WhiteningSource | None = None
    dims: int | None = None
    """Dimensions that the whitening keeps."""
    query_expansion: Expansion | None = None
    augmentation: Expansion | None = None
    distractors: tuple[Path, ...] = ()
    """Images that no query should find, ranked with the database."""
    distractors_from: str | None = None
    """Name of the set, folder or list that they are of."""
    half: bool = False
    """Keep the distractors' descriptors in float16."""

    def __post_init__(self) -> None:
        if self.augmentation is not None and self.distractors:
            raise InvalidInput(
                "--dba compares every database image with every other: with distractors that would take "
                "days. Leave one of --dba and --distractors out; --alpha-qe works with both."
            )
        if self.dims is not None and self.whitening is None:
            raise InvalidInput("--whiten-dims reduces a whitening: give --whiten-on or --whitening too.")
        if self.half and not self.distractors:
            raise InvalidInput(
                "--half keeps the distractors' descriptors in float16: give --distractors too."
            )


@dataclass(frozen=True)
class View:
    """A benchmark as one network sees it, before whitening."""

    queries: Float32Rows
    """[Q, dim]."""
    database: Rows
    """[N, dim], distractors after the benchmark's own images."""
    whitening: LearnedWhitening | None
    dims: int | None = None

    def whitened(self, rows: Float32Rows) -> Float32Rows:
        """Rows of this network, or of another one that lives in its space, as they are compared."""
        return rows if self.whitening is None else self.whitening.apply(rows, self.dims)

    def searched(self) -> Rows:
        """The database as it is compared; whitened block by block, when it is read."""
        if self.whitening is None:
            return self.database
        dim = self.dims or len(self.whitening.projection)
        return Changed(self.database, self.whitened, dim)


@dataclass(frozen=True)
class Measured:
    """The scores of one network."""

    setups: dict[str, SetupScores]
    top: list[Ranks]
    """Per query, database indices of its best images without those that the headline setup ignores."""


def view(sight: Sight, benchmark: Benchmark, options: Options) -> View:
    """Describe queries (their boxes alone), database and distractors, and learn the whitening.

    Raises:
        InvalidInput: an image cannot be read, or there is too little to learn a whitening from.
        StorageFailed: descriptors cannot be kept.
    """
    boxes = [truth.box for truth in benchmark.ground_truth]
    queries = sight.rows(benchmark.query_paths, boxes)
    database: Rows = sight.rows(benchmark.image_paths)
    if options.distractors:
        database = Joined([database, sight.stored(options.distractors, half=options.half)])
    whitening = options.whitening.whitening(sight) if options.whitening else None
    if whitening is not None and options.dims is not None and options.dims > len(whitening.projection):
        raise InvalidInput(
            f"--whiten-dims {options.dims}: the whitening gives {len(whitening.projection)} dimensions, as "
            "many as its images vary in. Keep fewer, or learn it from more images."
        )
    return View(queries, database, whitening, options.dims)


def measure(
    queries: Float32Rows,
    database: Rows,
    benchmark: Benchmark,
    options: Options,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Measured:
    """Rank the database for every query and score the rankings.

    Args:
        queries: float32 [Q, d], as they are compared.
        database: [N, d] with the benchmark's own images first.
        benchmark: its ground truth counts.
        options: whitening is over by now; expansion and augmentation are done here.
        on_rows: called with the number of database rows that a pass has compared.
    """
    if options.augmentation is not None:
        database = augment_database(np.asarray(database[:], np.float32), options.augmentation, on_rows)
    if options.query_expansion is not None:
        queries = expand_queries(queries, database, options.query_expansion, on_rows)
    truths, protocol = benchmark.ground_truth, benchmark.protocol
    listed = [graded(truth, protocol) for truth in truths]
    ranks = ranks_of(queries, database, listed, on_rows)
    setup = SETUPS[protocol][HEADLINE[protocol]]
    left_out = [ignored(truth, setup) for truth in truths]
    found = top_k(queries, database, SHOWN + max(map(len, left_out), default=0), on_rows)
    return Measured(
        setups=score(truths, listed, ranks, protocol),
        top=list(map(_shown, found.indices, left_out)),
    )


def passes(options: Options) -> int:
    """How often :func:`measure` goes through the database."""
    return 2 + (options.query_expansion is not None) + (options.augmentation is not None)


def _shown(indices: Ranks, left_out: NDArray[np.int64]) -> Ranks:
    return indices[~np.isin(indices, left_out)][:SHOWN]
