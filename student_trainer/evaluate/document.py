"""``evaluation.json``: what was measured, under which protocol, and a few rankings to look at.

What a landmark benchmark adds (setups, whitening, distractors) is absent from other evaluations, and from
older files.

In: the fields below, or the bytes of the file. Out: the file, or a checked document.
"""

import hashlib
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate.bootstrap import DRAWS, SEED
from student_trainer.evaluate.labelled import MEASURES

TEACHER, BEFORE, STUDENT = "teacher", "student before", "student"
"""Names of the models that every evaluation may hold; further students go by the user's names."""
ASYMMETRIC = "student asks, teacher's database"
"""Queries by the student, database by the teacher."""

Interval = tuple[float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BenchmarkFacts(_Part):
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


class Protocol(_Part):
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
    scales: tuple[float, ...]
    measures: dict[str, str] = MEASURES
    ties: str = "images of equal similarity stand in the order of the manifest"
    intervals: str = f"95 %, percentile bootstrap over queries, {DRAWS:,} draws, seed {SEED}"
    benchmark: BenchmarkFacts | None = None

    @property
    def step_measure(self) -> str:
        """Name of the measure by which models are compared in one number."""
        return f"mAP (step, {self.benchmark.headline_name})" if self.benchmark else "mAP (step)"

    def sentence(self) -> str:
        """The protocol in words."""
        factors = ", ".join(f"{scale:g}" for scale in self.scales)
        scales = "Single scale" if self.scales == (1.0,) else f"Image scales {factors}"
        left_out = self.queries_without_positives
        without = f"; {left_out:,} without a relevant image are left out of the means" if left_out else ""
        if self.benchmark is not None:
            return self._of_benchmark(self.benchmark, without, scales)
        who = (
            f"Each of {self.queries:,} images ranks all the others"
            if self.leave_one_out
            else f"{self.queries:,} queries rank {self.database:,} database images"
        )
        split = f", split {self.split}" if self.split else ""
        return f"{who} ({self.manifest}{split}){without}. Relevant means: the same label. {scales}."

    def _of_benchmark(self, facts: BenchmarkFacts, without: str, scales: str) -> str:
        among = f", {facts.distractors:,} of them distractors" if facts.distractors else ""
        return (
            f"{self.queries:,} queries rank {self.database:,} database images{among} ({self.manifest}, "
            f"{facts.rules} protocol){without}. Where one score stands for a model it is that of the "
            f"{facts.headline_name} setup. {'. '.join([scales, *facts.options()])}."
        )


class SetupLine(_Part):
    """One model's scores in one setup of a benchmark; None where no query has a positive in it."""

    map_trapezoid: float | None
    map_step: float | None
    mp_at_1: float | None
    mp_at_5: float | None
    mp_at_10: float | None
    queries: int
    """Queries in the means."""
    queries_without_positives: int
    intervals: dict[str, Interval]
    """95 % interval of each measure."""


class BridgeFit(_Part):
    """How well a map from the student's space into the teacher's does on images that it has not seen."""

    pairs: int
    """Images that it was learned from."""
    held_back: int
    """Of these, the images that judged a map of the others."""
    held_back_cosine: float | None
    """Mean over those; None where there were too few to hold any back."""


class ModelScores(_Part):
    """One model's line of the table."""

    map_step: float
    map_trapezoid: float
    mp_at_10: float
    recall_at_1: float
    intervals: dict[str, Interval]
    """95 % interval of each measure."""
    gain_over_before: float | None = None
    """map_step minus that of the student before distillation."""
    gain_interval: Interval | None = None
    """95 % interval of the gain, query by query."""
    arch: str
    objective: str | None = None
    """What the student was trained with, where its recipe says so."""
    images_bought: int | None = None
    """Teacher descriptors that it learned from, one query each; None where no transfer set says."""
    dim: int
    parameters: int | None
    """None where the model is reached through an API alone."""
    file_bytes: int | None
    """Size of the checkpoint."""
    image_size: int | None
    """Longest side, pixels; None where a teacher behind an API does not say."""
    checkpoint_sha256: str
    """Of the file, as ``sha256sum`` prints it; of a teacher that is an API, its revision."""
    setups: dict[str, SetupLine] = {}
    """Every setup of a benchmark."""
    whitened: bool = False
    bridge: str | None = None
    """How a student's queries came into the teacher's space, where they were asked of its database."""
    bridge_fit: BridgeFit | None = None
    """Absent where no map was learned."""


class Hit(_Part):
    """One image of a ranking."""

    path: str
    relevant: bool


class Ranking(_Part):
    """One model's answer to one query."""

    ap_step: float
    top: tuple[Hit, ...]


class Example(_Part):
    """A query to look at, and why it was chosen."""

    query: str
    label: str
    why: str
    relevant_in_database: int
    rankings: dict[str, Ranking]
    """By model name."""


class Evaluation(_Part):
    """The whole document."""

    format: str = "ration-evaluation/1"
    protocol: Protocol
    models: dict[str, ModelScores]
    images_root: str
    """Folder to which the paths of the examples are relative; only the report reads it."""
    examples: tuple[Example, ...]

    def write(self, path: Path) -> None:
        """Write the file, replacing an older one only when the new one is complete.

        Raises:
            StorageFailed: it cannot be written.
        """
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            unfinished.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
            unfinished.replace(path)
        except OSError as error:
            raise StorageFailed(
                f"{path} cannot be written: {error}. The older file, if any, is unchanged."
            ) from None
        finally:
            unfinished.unlink(missing_ok=True)


def read_evaluation(path: Path) -> Evaluation:
    """Read and check ``evaluation.json``.

    Raises:
        InvalidInput: it is not such a document.
    """
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise InvalidInput(
            f"{path} is not an evaluation ({where}: {first['msg']}). "
            "Write it again with: student-trainer evaluate"
        ) from None


def sha256_of_file(path: Path) -> str:
    """Digest by which the document names a checkpoint."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
