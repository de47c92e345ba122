"""Tables measured on Oxford and Paris, revisited or old: the paper's own yardstick.

In: a checkpoint. Out: mAP in each setup of each benchmark; whitened, with mP@10 too, where another city is
among them to learn the whitening on, as the paper does (Laskar and Kannala 2020, Section 5).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from shared.digest import digest_of_list, float_text, sha256_hex
from shared.learned_whitening import LearnedWhitening
from student_trainer.datasets.ground_truth import Benchmark, to_document
from student_trainer.datasets.known import same_photographs, short_name
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.benchmark.scoring import Options, View, measure, view
from student_trainer.evaluate.describing import Describer
from student_trainer.evaluate.ranking import Float32Rows
from student_trainer.evaluate.revisited import SETUPS
from student_trainer.evaluate.search.blocks import Rows
from student_trainer.evaluate.whitening import learn_pca
from student_trainer.recipe import Recipe
from student_trainer.reproduce.columns import Column
from student_trainer.reproduce.measures import readable
from student_trainer.trials.contents import Contents
from student_trainer.trials.file_digests import FileDigests

TESTED = ("M", "H", "old")
"""Setups that claims are tested on; the paper's tables have these."""
AT_TEN, WHITENED = " mP@10", " whitened"
"""Ends of the names under which the numbers are kept."""


@dataclass(frozen=True)
class OnBenchmarks:
    """Retrieval on landmark benchmarks, at several scales."""

    benchmarks: tuple[Benchmark, ...]
    longest_side_px: int
    scales: tuple[float, ...]
    device: str = "auto"
    whitened: bool = False
    """Show the numbers of whitened descriptors; both are measured where they can be."""
    files: FileDigests = field(default_factory=FileDigests)
    """Reads the images for the digest."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        setups = [(one, name) for one in self.benchmarks for name in SETUPS[one.protocol]]
        if not self.whitened:
            return tuple(_column(benchmark, setup) for benchmark, setup in setups)
        shown = [(benchmark, setup) for benchmark, setup in setups if setup in TESTED]
        return tuple(
            column
            for benchmark, setup in shown
            for column in (_column(benchmark, setup, WHITENED), _at_ten(benchmark, setup, WHITENED))
        )

    def of(self, recipe: Recipe) -> "OnBenchmarks":
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        return self

    @property
    def sentence(self) -> str:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        named = " and ".join(
            f"{len(benchmark.queries):,} queries in {len(benchmark.images):,} images of {benchmark.name}"
            for benchmark in self.benchmarks
        )
        scales = ", ".join(f"{scale:.2g}" for scale in self.scales)
        return f"{named}, at {self.longest_side_px} px and scales {scales}."

    @cached_property
    def _digest(self) -> str:
        settings = [str(self.longest_side_px), *map(float_text, self.scales)]
        both = zip(self.benchmarks, self._contents, strict=True)
        found = [_digest_of(benchmark, contents) for benchmark, contents in both]
        return digest_of_list(["benchmarks", *found, *settings])

    @cached_property
    def _contents(self) -> tuple[Contents, ...]:
        return tuple(Contents(files_of(benchmark), self.files) for benchmark in self.benchmarks)

    def digest(self) -> str:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`; of truth, images and settings."""
        return self._digest

    def require_unchanged(self) -> None:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`."""
        for contents in self._contents:
            contents.require_unchanged()

    def measure(self, checkpoint: Path) -> dict[str, float]:
        """See :class:`student_trainer.reproduce.measures.TableMeasure`: plain, and whitened if possible."""
        describer = Describer(
            readable(checkpoint),
            self.longest_side_px,
            self.scales,
            self.device,
            apply_exif=False,
            name=str(checkpoint),
        )
        views = {benchmark.name: view(describer, benchmark, Options()) for benchmark in self.benchmarks}
        values: dict[str, float] = {}
        for benchmark in self.benchmarks:
            seen = views[benchmark.name]
            values |= _values(benchmark, seen.queries, seen.database, "")
            if (other := elsewhere(benchmark, self.benchmarks)) is not None:
                whitening = _whitening(views[other.name], other)
                rows = (whitening.apply(seen.queries), whitening.apply(np.asarray(seen.database[:])))
                values |= _values(benchmark, *rows, WHITENED)
        return values


def files_of(benchmark: Benchmark) -> tuple[Path, ...]:
    """Every image that is looked at: the database, then the queries."""
    return (*benchmark.image_paths, *benchmark.query_paths)


def _digest_of(benchmark: Benchmark, contents: Contents) -> str:
    truth = json.dumps(to_document(benchmark), sort_keys=True).encode()
    return digest_of_list([sha256_hex(truth), *contents.digests])


def elsewhere(benchmark: Benchmark, others: Sequence[Benchmark]) -> Benchmark | None:
    """The first benchmark of another city, whose images a whitening may be learned from."""
    apart = (other for other in others if not same_photographs(other.name, benchmark.name))
    return next(apart, None)


def _values(benchmark: Benchmark, queries: Float32Rows, database: Rows, end: str) -> dict[str, float]:
    """mAP and mP@10 of each setup; one without a query that has a positive is left out."""
    try:
        setups = measure(queries, database, benchmark, Options()).setups
    except ValueError as error:
        raise InvalidInput(f"{benchmark.name}: {error}") from None
    values = {}
    for setup, scores in setups.items():
        summary = scores.summary()
        if summary["map_trapezoid"] is not None:
            values[_name(benchmark, setup) + end] = summary["map_trapezoid"]
            values[_name(benchmark, setup) + AT_TEN + end] = summary["mp_at_10"]
    return values


def _whitening(seen: View, benchmark: Benchmark) -> LearnedWhitening:
    try:
        return learn_pca(np.asarray(seen.database[:]))
    except ValueError as error:
        raise InvalidInput(f"The whitening on {benchmark.name}: {error}") from None


def _column(benchmark: Benchmark, setup: str, end: str = "") -> Column:
    name = _name(benchmark, setup)
    words = f"mAP (trapezoidal) on {benchmark.name}, {SETUPS[benchmark.protocol][setup].name}{end}"
    return Column(name, words, tested=setup in TESTED, protocol="mAP, trapezoidal", key=name + end)


def _at_ten(benchmark: Benchmark, setup: str, end: str) -> Column:
    name = _name(benchmark, setup) + AT_TEN
    words = f"mP@10 on {benchmark.name}, {SETUPS[benchmark.protocol][setup].name}{end}"
    return Column(name, words, tested=False, key=name + end)


def _name(benchmark: Benchmark, setup: str) -> str:
    """``ROxf M``, ``Par``; of a benchmark that the paper does not know, its own name."""
    short = short_name(benchmark.name)
    return short if setup == "old" else f"{short} {setup}"
