"""What a run folder can tell, gathered once for the page and the card.

In: a run folder, complete or not. Out: frozen facts, and for each part that is missing the command that
makes it. A certificate is verified here and now, and compared with the descriptors that are held.
"""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.checkpoints import read_notes
from shared.digest import sha256_of_file
from student_trainer.acquire.records import PlanFacts
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.curve.document import Curve, read_curve
from student_trainer.distil.lineage.start import ANCESTOR
from student_trainer.distil.log.reading import TrainingLog, read_training_log
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.document import STUDENT, Evaluation, read_evaluation
from student_trainer.evaluate.provenance import held, learned_before, learned_from
from student_trainer.publish.budget import Budget, check_budget
from student_trainer.run_folder import RunFolder


@dataclass(frozen=True)
class Purchase:
    """What the transfer set holds."""

    source: str
    """Name of the folder or manifest of photographs, without the path to it."""
    choice: str
    """How the images were chosen, in words."""
    candidates: int
    bought: int
    refused: int
    teacher_model: str
    teacher_revision: str
    teacher_dim: int


@dataclass(frozen=True)
class Missing:
    """A part that is not there or out of date, and the command that makes it."""

    what: str
    command: str


@dataclass(frozen=True)
class RunFacts:
    """Everything that the page and the card are made of."""

    name: str
    evaluation: Evaluation | None
    budget: Budget | None
    purchase: Purchase | None
    recipe: tuple[tuple[str, str], ...]
    """(``section.key``, value) in the order of the file."""
    training: TrainingLog
    has_student: bool
    learned_from_teacher: bool
    """The student's file says that it learned from bought descriptors."""
    missing: tuple[Missing, ...]
    curve: Curve | None = None
    """Quality against queries, where ``curve`` was run."""
    white_box: str | None = None
    """Digest of the weights of a teacher whose feature maps the student learned from; None of a black box."""
    ancestor: str | None = None
    """Digest of the weights of the student that this one started from; None where it started from none."""
    bought_before: bool = False
    """The student started from one that learned from other descriptors, which nothing here counts."""


def gather(folder: RunFolder) -> RunFacts:
    """Read what is there.

    Raises:
        InvalidInput: a file is there but cannot be understood.
        StorageFailed: the transfer set is damaged.
    """
    evaluation = read_evaluation(folder.evaluation) if folder.evaluation.is_file() else None
    curve = read_curve(folder.curve_document) if folder.curve_document.is_file() else None
    learned_from_teacher = folder.student.is_file() and learned_from(folder.student) is not None
    return RunFacts(
        name=folder.root.resolve().name,
        evaluation=evaluation,
        budget=check_budget(folder) if folder.certificate.is_file() else None,
        purchase=_purchase(folder.transfer_set) if folder.transfer_set.is_file() else None,
        recipe=tuple(_recipe(folder.recipe)) if folder.recipe.is_file() else (),
        training=read_training_log(folder.metrics) if folder.metrics.is_file() else TrainingLog(),
        curve=curve,
        has_student=folder.student.is_file(),
        learned_from_teacher=learned_from_teacher,
        missing=(*_absent(folder, learned_from_teacher), *_outdated(folder, evaluation, curve)),
        white_box=read_notes(folder.student).get("white_box") if folder.student.is_file() else None,
        ancestor=read_notes(folder.student).get(ANCESTOR) if folder.student.is_file() else None,
        bought_before=folder.student.is_file() and bool(learned_before(folder.student)),
    )


def _absent(folder: RunFolder, learned_from_teacher: bool) -> Iterator[Missing]:
    """What the next verbs would add; a student that learned from labels needs no purchase and no audit."""
    run = f"--run {folder.root}"
    has_student = folder.student.is_file()
    if not folder.transfer_set.is_file() and not has_student:
        yield Missing("Bought descriptors", f"student-trainer plan {run} --images DIR --queries N")
    if not has_student:
        yield Missing("The distilled student", f"student-trainer train {run}")
    if not folder.evaluation.is_file():
        yield Missing("Retrieval scores", f"student-trainer evaluate {run} --manifest FILE")
    if not folder.certificate.is_file() and (learned_from_teacher or not has_student):
        yield Missing("The budget certificate", f"student-trainer audit {run}")


def _outdated(folder: RunFolder, evaluation: Evaluation | None, curve: Curve | None) -> Iterator[Missing]:
    measured = evaluation.models.get(STUDENT) if evaluation else None
    if measured and folder.student.is_file() and measured.checkpoint_sha256 != sha256_of_file(folder.student):
        yield Missing(
            "Scores of the present student (those below are of an older file)",
            f"student-trainer evaluate --run {folder.root} --manifest FILE",
        )
    if curve and folder.transfer_set.is_file() and curve.transfer_set != held(folder.transfer_set).digest:
        yield Missing(
            "A curve of the present descriptors (the one below was drawn before others were bought)",
            f"student-trainer curve --run {folder.root}",
        )


def _purchase(path: Path) -> Purchase:
    with TransferSet.open(path) as transfer_set:
        plan, summary, teacher = transfer_set.facts, transfer_set.summary(), transfer_set.teacher
    return Purchase(
        source=Path(plan.source).name,
        choice=_choice(plan),
        candidates=summary.candidates,
        bought=summary.bought,
        refused=summary.refused,
        teacher_model=teacher.model if teacher else "",
        teacher_revision=teacher.revision if teacher else "",
        teacher_dim=teacher.dim if teacher else 0,
    )


def _choice(plan: PlanFacts) -> str:
    """``random, seed 0 (4,000 images); then k-center by ..., seed 0``."""
    ways = [
        f"{_way(earlier.strategy, earlier.network, earlier.seed)} ({earlier.images:,} images)"
        for earlier in plan.earlier
    ]
    now = _way(plan.way[0], plan.network, plan.seed)
    dropped = "; near-duplicates left out" if plan.dropped_near_duplicates else ""
    return "; then ".join([*ways, now]) + dropped


def _way(strategy: str, network: str, seed: int) -> str:
    by = f" by {network}" if network else ""
    return f"{strategy}{by}, seed {seed}"


def _recipe(path: Path) -> Iterator[tuple[str, str]]:
    """Every setting; of a weights file only its name, since its folder is the owner's business."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not a recipe: {error}.") from None
    for section, settings in document.items():
        pairs = settings.items() if isinstance(settings, dict) else [("", settings)]
        for key, value in pairs:
            text = Path(value).name if key == "weights" else _setting_text(value)
            yield f"{section}.{key}".rstrip("."), text


def _setting_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
