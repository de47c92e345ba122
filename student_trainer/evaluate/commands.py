"""The verb ``evaluate``: teacher, student before and students after, side by side.

In: a run folder, a labelled manifest and perhaps the teacher's checkpoint. Out: a table on standard
output, and ``evaluation.json`` in the run folder.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from student_trainer.errors import InvalidInput
from student_trainer.output import emit
from student_trainer.progress import progress
from student_trainer.run_folder import RunFolder

if TYPE_CHECKING:
    from student_trainer.evaluate.comparison import Contestant


def evaluate(
    *,
    run: Annotated[Path, typer.Option(help="Run folder with the trained student.")],
    manifest: Annotated[
        Path,
        typer.Option(
            help="Labelled CSV (path, label[, split][, query]), or a folder with one sub-folder a label."
        ),
    ],
    split: Annotated[str | None, typer.Option(help="Use only this split of the manifest.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="The teacher's checkpoint, where you have it.")] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(help="NAME=RUN_DIR: another run's student beside this one; repeatable."),
    ] = None,
    scales: Annotated[str, typer.Option(help="Image scales, such as 1,0.7071,0.5.")] = "1",
    image_size: Annotated[
        int | None,
        typer.Option(help="Longest side in px for the students; default: each run's recipe.", min=16),
    ] = None,
    teacher_image_size: Annotated[
        int | None, typer.Option(help="Longest side in px for the teacher; default: the student's.", min=16)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the evaluation as one JSON object.")] = False,
) -> None:
    """Measure retrieval on labelled images: teacher and students side by side."""
    from student_trainer.acquire.manifest import read_manifest, scan_folder
    from student_trainer.evaluate.gallery import gallery_of

    folder = RunFolder.existing(run)
    chosen_scales = parse_scales(scales)
    contestants = _contestants(folder, teacher, also or (), image_size, teacher_image_size)
    if manifest.is_dir() and split is not None:
        raise InvalidInput(f"{manifest} is a folder and has no splits: give a CSV manifest, or drop --split.")
    entries = scan_folder(manifest) if manifest.is_dir() else read_manifest(manifest, split)
    gallery = gallery_of(entries)

    from student_trainer.evaluate.comparison import Source, compare
    from student_trainer.evaluate.table import as_text

    with progress("Describing", len(gallery.paths) * len(contestants), "images") as bar:
        evaluation = compare(
            contestants,
            gallery,
            Source(manifest, split),
            chosen_scales,
            device=device,
            on_images=lambda name, done: bar.advance(done, note=name),
        )
    evaluation.write(folder.evaluation)
    emit(
        evaluation.model_dump(mode="json"),
        f"{as_text(evaluation)}\n\nWritten: {folder.evaluation}. Next: student-trainer report --run {run}",
        as_json=json,
    )


def parse_scales(text: str) -> tuple[float, ...]:
    """``1,0.7071,0.5`` -> (1.0, 0.7071, 0.5).

    Raises:
        InvalidInput: not numbers, or a number outside (0, 4].
    """
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInput(f"--scales {text!r} is not a list of numbers such as 1,0.7071,0.5.") from None
    if not all(0 < scale <= 4 for scale in scales):  # also refuses NaN
        raise InvalidInput(f"--scales {text!r}: every scale must be above 0 and at most 4.")
    return scales


def _contestants(
    folder: RunFolder,
    teacher: Path | None,
    also: Sequence[str],
    image_size: int | None,
    teacher_image_size: int | None,
) -> "list[Contestant]":
    """Who is measured, in the order of the table: teacher, student before, student, others."""
    from student_trainer.evaluate.comparison import Contestant
    from student_trainer.evaluate.document import BEFORE, STUDENT, TEACHER

    runs = {STUDENT: folder} | _named_runs(also, taken=(TEACHER, BEFORE, STUDENT))
    bought = _bought(runs.values())
    students = [_student(name, run, image_size, bought) for name, run in runs.items()]
    side = students[0].longest_side_px
    first = []
    if teacher is not None:
        if not teacher.is_file():
            raise InvalidInput(f"There is no teacher checkpoint {teacher}.")
        first.append(Contestant(TEACHER, teacher, teacher_image_size or side))
    if folder.initial_student.is_file():
        first.append(Contestant(BEFORE, folder.initial_student, side))
    return [*first, *students]


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


def _student(name: str, run: RunFolder, image_size: int | None, bought: Mapping[str, int]) -> "Contestant":
    """A run's student, at the size that it was trained for unless another is given."""
    from student_trainer import recipe
    from student_trainer.evaluate.comparison import Contestant
    from student_trainer.evaluate.provenance import learned_from

    if not run.student.is_file():
        raise InvalidInput(
            f"{run.root} has no student yet. Make it with: student-trainer train --run {run.root}"
        )
    trained = recipe.load(run.recipe) if run.recipe.is_file() else None
    size = image_size or (trained.images.longest_side_px if trained else None)
    if size is None:
        raise InvalidInput(f"{run.recipe} is missing, so the image size is unknown: give --image-size.")
    return Contestant(
        name,
        run.student,
        size,
        objective=trained.objective.name if trained else None,
        images_bought=bought.get(learned_from(run.student) or ""),
    )


def _bought(runs: Iterable[RunFolder]) -> dict[str, int]:
    """Transfer set digest -> images; runs that are compared may share one that stands in only one folder."""
    from student_trainer.evaluate.provenance import held

    sets = [held(run.transfer_set) for run in runs if run.transfer_set.is_file()]
    return {transfer_set.digest: transfer_set.images for transfer_set in sets}
