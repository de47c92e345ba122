"""Who is measured: the run's student, as it was before and after, its teacher, and other runs' students.

In: a run folder and the options of ``evaluate``. Out: contestants, in the order of the table.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from shared.views import WHOLE, Degradation
from student_trainer import recipe
from student_trainer.distil.lineage.learned import IMAGES, LABELS, read
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.asymmetric.fitness import Upbringing, in_teachers_space
from student_trainer.evaluate.contestant import Contestant, require_checkpoint
from student_trainer.evaluate.document import BEFORE, STUDENT, TEACHER
from student_trainer.evaluate.provenance import Held, held, learned_before, learned_from
from student_trainer.run_folder import RunFolder

CLEAN = "none"
"""What ``--degrade`` says for images as they are."""


def line_up(
    folder: RunFolder,
    teacher: Path | None,
    also: Sequence[str],
    image_size: int | None,
    teacher_image_size: int | None,
    *,
    degrade: str | None = None,
) -> list[Contestant]:
    """Who is measured, in the order of the table: teacher, student before, student, others.

    Args:
        folder: the run whose student it is about.
        teacher: its checkpoint, where it is at hand.
        also: ``NAME=RUN_DIR`` of other students.
        image_size: longest side in px for the students, of whole images; None for each run's recipe.
        teacher_image_size: for the teacher; None for how the student is shown images.
        degrade: what makes the students' images worse, ``none`` to show them as they are; None for each run's
            recipe. The teacher sees them as they are in any case.

    Raises:
        InvalidInput: a run without a student, a teacher that is not there, a name that is taken, an image
            size that nobody states, or a degradation that is none.
    """
    worse = _degradation(degrade)
    runs = {STUDENT: folder} | _named_runs(also, taken=(TEACHER, BEFORE, STUDENT))
    bought = _bought(runs.values())
    students = [_student(name, run, image_size, bought) for name, run in runs.items()]
    if degrade is not None:
        students = [replace(one, view=replace(one.view, degradation=worse)) for one in students]
    side, view = students[0].longest_side_px, students[0].view
    first = []
    if teacher is None and teacher_image_size is not None:
        raise InvalidInput("--teacher-image-size is for the teacher's checkpoint: give --teacher FILE too.")
    if teacher is not None:
        require_checkpoint(teacher)
        clean = view.clean() if teacher_image_size is None else view.clean().whole()
        first.append(Contestant(TEACHER, teacher, teacher_image_size or side, view=clean))
    if folder.initial_student.is_file():
        first.append(Contestant(BEFORE, folder.initial_student, side, view=view))
    return [*first, *students]


def _degradation(text: str | None) -> Degradation | None:
    if text is None or text == CLEAN:
        return None
    try:
        return Degradation.parse(text)
    except ValueError as error:
        raise InvalidInput(f"--degrade: {error} Images as they are: {CLEAN}.") from None


def _named_runs(also: Sequence[str], taken: Sequence[str]) -> dict[str, RunFolder]:
    runs: dict[str, RunFolder] = {}
    for name_and_run in also:
        name, equals, other = name_and_run.partition("=")
        if not (equals and name and other):
            raise InvalidInput(f"--also {name_and_run!r} is not of the form NAME=RUN_DIR.")
        if name in taken or name in runs:
            raise InvalidInput(f"--also {name_and_run!r}: the name {name!r} is taken.")
        runs[name] = RunFolder.existing(Path(other))
    return runs


def _student(name: str, run: RunFolder, image_size: int | None, bought: Mapping[str, Held]) -> Contestant:
    """A run's student, shown images as it was trained for; at another size whole ones."""
    if not run.student.is_file():
        raise InvalidInput(
            f"{run.root} has no student yet. Make it with: student-trainer train --run {run.root}"
        )
    trained = recipe.load(run.recipe) if run.recipe.is_file() else None
    size = image_size or (trained.images.longest_side_px if trained else None)
    if size is None:
        raise InvalidInput(f"{run.recipe} is missing, so the image size is unknown: give --image-size.")
    view = trained.images.view if trained else WHOLE
    learned = bought.get(learned_from(run.student) or "")
    return Contestant(
        name,
        run.student,
        size,
        objective=trained.objective.name if trained else None,
        view=view if image_size is None else view.whole(),
        images_bought=_images_bought(run, bought),
        upbringing=Upbringing(
            objective=trained.objective.name if trained else None,
            in_teachers_space=in_teachers_space(trained) if trained else None,
            head=run.head,
            teacher_dim=None if learned is None else learned.dim,
        ),
        learned_labels=read(run.learned_labels, LABELS),
        learned_images=_images(run, learned),
    )


def _images_bought(run: RunFolder, bought: Mapping[str, Held]) -> int | None:
    """Of all purchases that it learned from, each image once; None where one of them is not at hand."""
    digests = [learned_from(run.student) or "", *learned_before(run.student)]
    if not all(digest in bought for digest in digests):
        return None
    return len(frozenset().union(*(bought[digest].images for digest in digests)))


def _images(run: RunFolder, learned: Held | None) -> frozenset[str]:
    """By the list beside the student; of a folder without one those that were bought."""
    known = read(run.learned_images, IMAGES)
    if known is not None:
        return known.names
    return frozenset() if learned is None else learned.images


def _bought(runs: Iterable[RunFolder]) -> dict[str, Held]:
    """By the transfer set's digest; runs that are compared may share one that stands in only one folder."""
    sets = [held(run.transfer_set) for run in runs if run.transfer_set.is_file()]
    return {transfer_set.digest: transfer_set for transfer_set in sets}
