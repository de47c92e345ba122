"""The files of a run folder, in one place.

In: the folder given by ``--run``. Out: the paths of what a run reads and writes.
"""

from dataclasses import dataclass
from pathlib import Path

from student_trainer.errors import InvalidInput, StorageFailed


def transfer_set_file(place: Path) -> Path:
    """The transfer set that ``--transfer-set`` names: a run folder stands for its own."""
    return RunFolder(place).transfer_set if place.is_dir() else place


@dataclass(frozen=True)
class RunFolder:
    """One distillation: a plan, what was bought, the training, and what came of it."""

    root: Path
    shared_cache: Path | None = None
    """A cache outside the folder, where several trainings on the same images follow one another."""
    bought_in: Path | None = None
    """A transfer set outside the folder, where what was bought is that of another run."""

    @classmethod
    def create(cls, root: Path) -> "RunFolder":
        """Make the folder if it is missing.

        Raises:
            StorageFailed: it cannot be made.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFailed(f"The run folder {root} cannot be made: {error.strerror}.") from None
        return cls(root)

    @classmethod
    def existing(cls, root: Path, made_by: str = "plan --run {}") -> "RunFolder":
        """A folder that must be there; ``made_by`` is the verb that makes what is looked for in it.

        Raises:
            InvalidInput: it is not.
        """
        if not root.is_dir():
            raise InvalidInput(
                f"There is no run folder {root}. Make one with: student-trainer {made_by.format(root)}"
            )
        return cls(root)

    @property
    def recipe(self) -> Path:
        """The recipe that was trained, with every default written out."""
        return self.root / "recipe.toml"

    @property
    def transfer_set(self) -> Path:
        """The plan, the bought descriptors and their receipts (SQLite)."""
        return self.bought_in or self.root / "transfer_set.sqlite"

    @property
    def metrics(self) -> Path:
        """One JSON object a line: the training curve."""
        return self.root / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The same for TensorBoard, where it was asked for."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """What an interrupted training continues from."""
        return self.root / "checkpoints"

    @property
    def cache(self) -> Path:
        """The decoded training images; may be deleted at any time."""
        return self.shared_cache or self.root / "cache"

    @property
    def initial_student(self) -> Path:
        """The student before distillation, for comparison."""
        return self.root / "student_before.safetensors"

    @property
    def student(self) -> Path:
        """The distilled student."""
        return self.root / "student.safetensors"

    @property
    def head(self) -> Path:
        """What the objective learned beside the student: a projection or a hash layer; often nothing."""
        return self.root / "head.safetensors"

    @property
    def learned_labels(self) -> Path:
        """Names of the labels that the student learned from, where it did from any."""
        return self.root / "learned_labels.json"

    @property
    def learned_images(self) -> Path:
        """Digests of the images that the student learned from."""
        return self.root / "learned_images.json"

    @property
    def evaluation_set(self) -> Path:
        """What ``evaluate --teacher-url`` bought to measure the teacher (SQLite, as the transfer set)."""
        return self.root / "evaluation_set.sqlite"

    @property
    def evaluation_crops(self) -> Path:
        """The parts of query images that were bought so, as they were sent."""
        return self.root / "evaluation_crops"

    @property
    def curve(self) -> Path:
        """What ``curve`` trained, measured and drew, in a folder of its own."""
        return self.root / "curve"

    @property
    def curve_document(self) -> Path:
        """Quality against queries; beside it the same as CSV and as a picture."""
        return self.curve / "curve.json"

    @property
    def evaluation(self) -> Path:
        """What ``evaluate`` measured."""
        return self.root / "evaluation.json"

    @property
    def certificate(self) -> Path:
        """What ``audit`` wrote."""
        return self.root / "certificate.json"

    @property
    def report(self) -> Path:
        """What ``report`` wrote."""
        return self.root / "report.html"

    @property
    def model_card(self) -> Path:
        """What ``report`` wrote beside the page."""
        return self.root / "MODEL_CARD.md"
