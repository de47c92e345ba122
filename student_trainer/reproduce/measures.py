"""What a network of a table is measured by: named numbers, of which some are what claims are tested on.

In: a checkpoint. Out: a number for each column. No query is spent on measuring.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Protocol

import torch

from shared.checkpoints import load_network
from shared.digest import digest_of_list
from shared.extraction import describe_pixels, pick_device
from shared.images import InvalidImage, Pixels, Preprocessing, load_pixels
from shared.multiply_adds import multiply_adds, parameter_count
from shared.network import DescriptorNet
from shared.tensor_files import CheckpointError
from shared.views import WHOLE, ImageView
from student_trainer.errors import InvalidInput
from student_trainer.recipe import Recipe
from student_trainer.reproduce.columns import Column
from student_trainer.trials.cells import Measure
from student_trainer.trials.contents import Contents
from student_trainer.trials.hardware import hardware
from student_trainer.trials.yardsticks import view_facts

PAPER_SCALES = (1.0, 2**-0.5, 0.5)


class TableMeasure(Measure, Protocol):
    """Numbers by the keys of columns, perhaps others beside; what cannot be had is left out."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """What it gives, in the order of a table."""

    @property
    def sentence(self) -> str:
        """On which images, and how."""

    def of(self, recipe: Recipe) -> "TableMeasure":
        """The same for a row that is trained by this recipe, where that decides what is measured."""


@dataclass(frozen=True)
class MeasurePair:
    """A measure for the students, and the same for the teacher, whose images may have another size."""

    student: TableMeasure
    teacher: TableMeasure


@dataclass(frozen=True)
class Cost:
    """Parameters, multiply-adds, and the network's time for one image at several scales."""

    images: tuple[Path, ...]
    longest_side_px: int
    device: str = "auto"
    threads: int = field(default_factory=torch.get_num_threads)
    """Of the run: where several cells run at a time, each has fewer, and is timed with as many as alone."""
    view: ImageView = WHOLE

    columns = (
        Column("parameters", "all weights of the network", tested=False, share=False),
        Column(
            "G multiply-adds",
            "thousand millions for one image at one scale, mean over the images",
            tested=False,
            share=False,
        ),
        Column("ms an image", "median time of the network, one image at a time", tested=False, share=False),
    )

    @property
    def sentence(self) -> str:
        """See :class:`TableMeasure`."""
        looks = self.view.words(self.longest_side_px)
        return (
            f"{len(self.images):,} images of at most {looks}, one at a time, at scales 1, "
            f"1/sqrt(2) and 1/2 on {hardware()}, {self.threads} threads; decoding is not counted."
        )

    def of(self, recipe: Recipe) -> "Cost":
        """See :class:`TableMeasure`."""
        return self

    def digest(self) -> str:
        """See :class:`TableMeasure`; another machine has other times."""
        settings = [str(self.longest_side_px), hardware(), str(self.threads), self.device]
        settings += view_facts(self.view)
        return digest_of_list(["cost", "multiply-adds", *self._contents.digests, *settings])

    @cached_property
    def _contents(self) -> Contents:
        return Contents(self.images)

    def require_unchanged(self) -> None:
        """See :class:`TableMeasure`."""
        self._contents.require_unchanged()

    def measure(self, checkpoint: Path) -> dict[str, float]:
        """See :class:`TableMeasure`. The first image is taken twice, and its first time does not count."""
        network = readable(checkpoint).to(pick_device(self.device))
        preprocessing = Preprocessing(self.longest_side_px, view=self.view)
        times_s, counts = [], []
        with _threads(self.threads):
            for path in (self.images[0], *self.images):
                pixels = torch.from_numpy(_pixels(path, preprocessing)[None])
                started_s = time.perf_counter()
                describe_pixels(network, pixels, preprocessing, PAPER_SCALES).cpu()
                times_s.append(time.perf_counter() - started_s)
                counts.append(multiply_adds(network.spec, *pixels.shape[1:3]))
        return {
            "parameters": float(parameter_count(network)),
            "G multiply-adds": fmean(counts[1:]) / 1e9,
            "ms an image": 1000 * median(times_s[1:]),
        }


@contextmanager
def _threads(count: int) -> Iterator[None]:
    own = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(own)


def readable(checkpoint: Path) -> DescriptorNet:
    """The network.

    Raises:
        InvalidInput: the file cannot be read.
    """
    try:
        return load_network(checkpoint)
    except CheckpointError as error:
        raise InvalidInput(f"The checkpoint {checkpoint}: {error}") from None


def _pixels(path: Path, preprocessing: Preprocessing) -> Pixels:
    try:
        return load_pixels(path, preprocessing)
    except (InvalidImage, OSError) as error:
        raise InvalidInput(f"An image to measure on cannot be read: {error}") from None
