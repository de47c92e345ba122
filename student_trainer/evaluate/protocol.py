"""The protocol of an evaluation: what was asked of what, by which rules, and which number stands for a model.

What a landmark benchmark adds (setups, whitening, distractors) is absent from other evaluations, and from
older files.

In: the fields below. Out: a part of the evaluation document, and the same in words.
"""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from student_trainer.datasets.known import DISTRACTORS, KNOWN
from student_trainer.evaluate.bootstrap import DRAWS, SEED
from student_trainer.evaluate.labelled import MEASURES
from student_trainer.evaluate.relevance import what_is_relevant

Headline: TypeAlias = Literal["map_step", "map_trapezoid"]
KINDS: dict[Headline, str] = {"map_step": "step", "map_trapezoid": "trapezoidal"}
"""The average precisions, as they are written behind ``mAP``."""


class Part(BaseModel):
    """A piece of the document: nothing changes in it, and nothing unknown is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BenchmarkFacts(Part):
    """What a landmark benchmark adds to the protocol."""

    rules: str
    """``revisited`` or ``old``."""
    headline: str
    """The setup whose scores stand in the model's own line."""
    headline_name: str
    """The same in words."""
    setups: dict[str, str]
    """Setup -> its name in words."""
    distractors: int = 0
    distractors_from: str | None = None
    """Name of the folder or list that they are of; ``revisitop1m`` for the public ones."""
    half_precision: bool = False
    """The distractors' descriptors were kept in float16."""
    whitening: str | None = None
    query_expansion: str | None = None
    augmentation: str | None = None
    queries_bought: int | None = None
    """Teacher descriptors of this evaluation that came through its API, one query each."""

    def options(self) -> list[str]:
        """Everything that was done beside comparing descriptors, in words."""
        return [
            *([f"Whitening: {self.whitening}"] if self.whitening else []),
            *([f"Database augmentation: {self.augmentation}"] if self.augmentation else []),
            *([f"Query expansion: {self.query_expansion}"] if self.query_expansion else []),
            *(["Descriptors of distractors in float16"] if self.half_precision else []),
            *(
                [f"The teacher was asked through its API, {self.queries_bought:,} queries in all"]
                if self.queries_bought is not None
                else []
            ),
        ]

    def among(self) -> str:
        """`` , 8 of them distractors: 8 images of the 1,001,001 of revisitop1m``; nothing without any."""
        if not self.distractors:
            return ""
        published = f"{KNOWN[DISTRACTORS].images:,}"
        images = f"{self.distractors:,} image{'s' if self.distractors != 1 else ''}"
        if self.distractors_from is None:
            source = ""
        elif self.distractors_from == DISTRACTORS:
            source = f": {images} of the {published} of {DISTRACTORS}"
        else:
            source = f": those of {self.distractors_from}, not the {published} of {DISTRACTORS}"
        return f", {self.distractors:,} of them distractors{source}"


class Protocol(Part):
    """How the numbers came about; enough to repeat them."""

    manifest: str
    """File name only: a document that is passed on does not carry its owner's folders. Of a benchmark, its
    name."""
    split: str | None
    queries: int
    """Queries in the means."""
    queries_without_positives: int
    database: int
    leave_one_out: bool
    queries_with_copies: int = 0
    """Queries whose very image stands in the database too (where each ranks all the others: once more), by
    its bytes; it is left out of their own rankings wherever it stands. 0 in older files, which did not look,
    and on benchmarks, whose ground truth says what is ignored."""
    scales: tuple[float, ...]
    """Of the networks at hand; a teacher behind an API has its own."""
    headline_measure: Headline = "map_step"
    """What stands for a model where there is room for one number, and is compared: on benchmarks the
    trapezoidal AP that published numbers are in. Older files compare step AP throughout."""
    measures: dict[str, str] = MEASURES
    ties: str = "images of equal similarity stand in the order of the manifest"
    intervals: str = f"95 %, percentile bootstrap over queries, {DRAWS:,} draws, seed {SEED}"
    several_labels: bool = False
    """Images have several labels; relevant is what shares one."""
    benchmark: BenchmarkFacts | None = None

    @property
    def headline_words(self) -> str:
        """``mAP (trapezoidal, Medium)``: what stands for a model; its setup if there are several."""
        return f"mAP ({KINDS[self.headline_measure]}{self._setup})"

    @property
    def other_measure(self) -> Headline:
        """The average precision that does not stand for a model."""
        return "map_trapezoid" if self.headline_measure == "map_step" else "map_step"

    @property
    def other_words(self) -> str:
        """Its name, likewise."""
        return f"mAP ({KINDS[self.other_measure]}{self._setup})"

    @property
    def _setup(self) -> str:
        several = self.benchmark is not None and len(self.benchmark.setups) > 1
        return f", {self.benchmark.headline_name}" if self.benchmark and several else ""

    def sentence(self) -> str:
        """The protocol in words."""
        left_out = self.queries_without_positives
        without = f"; {left_out:,} without a relevant image are left out of the means" if left_out else ""
        if self.benchmark is not None:
            return self._of_benchmark(self.benchmark, without)
        who = (
            f"Each of {self.queries:,} images ranks all the others"
            if self.leave_one_out
            else f"{self.queries:,} queries rank {self.database:,} database images"
        )
        split = f", split {self.split}" if self.split else ""
        apart = f"{without}{self._copies()}"
        return f"{who} ({self.manifest}{split}){apart}. {self._relevant()} {self._scales()}."

    def _copies(self) -> str:
        """What is said of images that a query would find because they are itself."""
        if not self.queries_with_copies:
            return ""
        where = "have copies among the others" if self.leave_one_out else "stand in the database too"
        return (
            f"; the images of {self.queries_with_copies:,} queries {where} (the same bytes), and are left "
            "out of their own rankings"
        )

    def _relevant(self) -> str:
        return f"Relevant means: {what_is_relevant(several_labels=self.several_labels)}."

    def _scales(self) -> str:
        factors = ", ".join(f"{scale:g}" for scale in self.scales)
        return "Single scale" if self.scales == (1.0,) else f"Image scales {factors}"

    def _of_benchmark(self, facts: BenchmarkFacts, without: str) -> str:
        asked = facts.queries_bought is not None
        scales = f"{self._scales()}{', but for the teacher those of its service' if asked else ''}"
        return (
            f"{self.queries:,} queries rank {self.database:,} database images{facts.among()} "
            f"({self.manifest}, {facts.rules} protocol){without}. Where one score stands for a model it is "
            f"its {self.headline_words}. {'. '.join([scales, *facts.options()])}."
        )
