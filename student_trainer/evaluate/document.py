"""``evaluation.json``: what was measured, under which protocol, and a few rankings to look at.

In: the fields below, or the bytes of the file. Out: the file, or a checked document.
"""

from pathlib import Path

from pydantic import Field, ValidationError

from shared.whole_files import write_whole
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate.asymmetric.mark import Mark, Way
from student_trainer.evaluate.hamming.line import HammingScores
from student_trainer.evaluate.protocol import Part, Protocol

TEACHER, BEFORE, STUDENT = "teacher", "student before", "student"
"""Names of the models that every evaluation may hold; further students go by the user's names."""
ASYMMETRIC, ASYMMETRIC_MAPPED = "student asks, teacher's database", "student asks, by a map"
"""Queries by the student, database by the teacher. Where the student asks as it was trained, the second line
stands beside the first: through a map learned afterwards."""

Interval = tuple[float, float]


class SetupLine(Part):
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


class BridgeFit(Part):
    """How well a map from the student's space into the teacher's does on images that it has not seen."""

    pairs: int
    """Images that it was learned from."""
    held_back: int
    """Of these, the images that judged a map of the others."""
    held_back_cosine: float | None
    """Mean over those; None where there were too few to hold any back."""


class LearnedLabels(Part):
    """How the labels that a student learned from meet those that it is measured on, by their names."""

    learned: int
    """Labels of its training."""
    evaluated: int
    """Labels of the images that it is measured on."""
    shared: int
    """In both; 0 where the classes are disjoint."""
    examples: tuple[str, ...]
    """The first few of those."""
    complete: bool = True
    """Whether the labels of its training are all that it learned from: not where it started from a student
    whose labels are unknown."""

    def sentence(self, images_shared: int) -> str:
        """In words, of a model that is named before, and learned from so many of the images themselves."""
        if not self.shared and images_shared:
            return (
                "not class-disjoint: images that it is measured on are among those that it learned from, "
                "under other names of labels, or under none"
            )
        if not self.shared and not self.complete:
            return (
                "not known to have learned from other classes alone: none of the "
                f"{self.evaluated:,} labels that it is measured on is among the {self.learned:,} known ones, "
                "but it started from a student whose labels are unknown"
            )
        if not self.shared:
            return (
                f"class-disjoint by name: it learned from {self.learned:,} labels, and is measured on "
                f"{self.evaluated:,} others"
            )
        more = ", ..." if self.shared > len(self.examples) else ""
        return (
            f"not class-disjoint: {self.shared:,} of the {self.evaluated:,} labels that it is measured on "
            f"are among the {self.learned:,} that it learned from ({', '.join(self.examples)}{more})"
        )


class LearnedImages(Part):
    """How many of the images that a student is measured on are among those that it learned from."""

    learned: int
    """Known images of its training, and of that of the student that it started from."""
    measured: int
    """Images that it is measured on."""
    shared: int
    """Of the latter, those with the bytes of one of the former."""

    @property
    def warning(self) -> str | None:
        """In words, of a model that is named before; None where all images are new to it."""
        if not self.shared:
            return None
        return (
            f"{self.shared:,} of the {self.measured:,} images that it is measured on were learned from, so "
            "its scores say less about new images"
        )


class ModelScores(Part):
    """One model's line of the table."""

    map_step: float
    map_trapezoid: float
    mp_at_10: float
    recall_at_1: float
    recall_at_2: float | None = None
    """This and the deeper ones: of labelled images; absent on benchmarks, and in older files."""
    recall_at_4: float | None = None
    recall_at_8: float | None = None
    intervals: dict[str, Interval]
    """95 % interval of each measure."""
    gain_over_before: float | None = None
    """The protocol's headline measure minus that of the student before distillation."""
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
    multiply_adds: int | None = None
    """For one square image of ``image_size``; None where the model is reached through an API alone, and in
    older files."""
    file_bytes: int | None
    """Size of the checkpoint."""
    image_size: int | None
    """Longest side, pixels, or the side that ``view`` gives; None where a teacher behind an API does not say
    it."""
    view: str | None = None
    """How images were shown to it, where that was not whole at their longest side."""
    checkpoint_sha256: str
    """Of the file, as ``sha256sum`` prints it; of a teacher that is an API, its revision."""
    setups: dict[str, SetupLine] = Field(default_factory=dict)
    """Every setup of a benchmark."""
    whitened: bool = False
    bridge: str | None = None
    """How a student's queries came into the teacher's space, where they were asked of its database."""
    bridge_way: Way | None = None
    """By its own descriptors, its projection, or a map learned afterwards."""
    bridge_fit: BridgeFit | None = None
    """Absent where no map was learned."""
    asymmetric: Mark | None = None
    """Whether a student is fit to ask its teacher's database; absent of teachers, and in older files."""
    learned_labels: LearnedLabels | None = None
    """Absent where it learned without labels, or nobody wrote them down."""
    learned_images: LearnedImages | None = None
    """Absent of models whose images nobody wrote down, and in older files."""
    hamming: HammingScores | None = None
    """What its binary codes are worth, on labelled images; absent where it has no hash layer."""

    @property
    def news(self) -> list[str]:
        """What is new to it of what it is measured on: what follows on its name."""
        images = self.learned_images
        found = [f": {images.warning}"] if images and images.warning else []
        if self.learned_labels is not None:
            found.append(f" is {self.learned_labels.sentence(images.shared if images else 0)}")
        return found

    @property
    def fitness(self) -> str | None:
        """A word for a column: of a student its mark; of a line that asked across, by what."""
        return self.bridge_way or (self.asymmetric.word if self.asymmetric else None)

    @property
    def asks_teacher(self) -> bool:
        """Whether its queries were asked of the teacher's database."""
        return self.bridge is not None

    @property
    def is_api(self) -> bool:
        """Whether it is reached through an API alone, which has its own sizes and scales."""
        return self.parameters is None


class Hit(Part):
    """One image of a ranking."""

    path: str
    relevant: bool


class Ranking(Part):
    """One model's answer to one query."""

    ap_step: float
    top: tuple[Hit, ...]


class Example(Part):
    """A query to look at, and why it was chosen."""

    query: str
    label: str
    why: str
    relevant_in_database: int
    rankings: dict[str, Ranking]
    """By model name."""


class Evaluation(Part):
    """The whole document."""

    format: str = "ration-evaluation/1"
    protocol: Protocol
    models: dict[str, ModelScores]
    images_root: str
    """Folder to which the paths of the examples are relative; only the report reads it."""
    examples: tuple[Example, ...]

    def headline_score(self, model: ModelScores) -> float:
        """The number that stands for a model of this evaluation."""
        return float(getattr(model, self.protocol.headline_measure))

    def write(self, path: Path) -> None:
        """Write the file, replacing an older one only when the new one is complete.

        Raises:
            StorageFailed: it cannot be written.
        """
        try:
            write_whole(path, self.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise StorageFailed(
                f"{path} cannot be written: {error}. The older file, if any, is unchanged."
            ) from None


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
