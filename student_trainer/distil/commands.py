"""The verb ``train``: offline, from what was bought or labelled to a student.

In: a run folder, a recipe, and for objectives that need them a labelled manifest. Out: the student, and what
else :mod:`student_trainer.distil.train` leaves in the run folder.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from student_trainer.errors import INTERRUPTED, InvalidInput
from student_trainer.output import emit, say
from student_trainer.run_folder import RunFolder, transfer_set_file

if TYPE_CHECKING:
    from student_trainer.distil.data import TrainingData
    from student_trainer.distil.labels.source import LabelSource
    from student_trainer.distil.objectives import Objective


def train(
    *,
    run: Annotated[Path, typer.Option(help="Run folder: the results go here.")],
    recipe: Annotated[
        str, typer.Option(help="A shipped recipe (paper-resnet34, quick-cpu, ...) or a TOML file.")
    ] = "paper-resnet34",
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Short for --set objective.name=NAME; docs/methods.md has all of them."
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Short for --set student.weights=...: imagenet, random or a file.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change the recipe; repeatable."),
    ] = None,
    transfer_set: Annotated[
        Path | None,
        typer.Option(metavar="RUN|FILE", help="What was bought: another run folder, or its file."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Labelled CSV or folder, for objectives that learn from labels."),
    ] = None,
    sfm120k: Annotated[
        Path | None,
        typer.Option(
            "--sfm120k",
            help="Folder of SfM-120k: its labels and pairs, instead of a manifest; also of bought images.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Labels of a public set: cub200, cars196, online-products, cifar10 or nus-wide.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder of data sets; `student-trainer datasets` says what belongs there.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Use only this split of the manifest; of SfM-120k: train or val; of a public set: train, "
            "test, and of some database."
        ),
    ] = None,
    partly_labelled: Annotated[
        bool,
        typer.Option(
            "--partly-labelled",
            help="Train although only some of the bought images have labels; from the others the student "
            "learns by the teacher alone.",
        ),
    ] = False,
    teacher_checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The teacher itself, for objectives that learn from its feature maps (hint, attention): a "
            "service shows none.",
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Train although planned images are not bought yet.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget an earlier training in this run folder.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the curve for TensorBoard too: RUN/tensorboard.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Train the student, or continue where training was stopped.

    For several processes: torchrun --no-python --nproc-per-node N -- student-trainer train ...
    """
    from student_trainer.distil.labels.counts import LabelCounts
    from student_trainer.distil.labels.source import LabelSource
    from student_trainer.distil.launch import together
    from student_trainer.distil.refusals import check_recipe
    from student_trainer.distil.train import train as train_student
    from student_trainer.distil.white_box.teacher import WhiteBox
    from student_trainer.recipe import load

    shortcuts = {"objective.name": objective, "student.weights": weights}
    overrides = [f"{key}={value}" for key, value in shortcuts.items() if value is not None]
    try:
        with together() as processes:
            chosen = load(recipe, [*overrides, *(changes or ())])
            asked = check_recipe(chosen, white_box=teacher_checkpoint is not None)
            folder, data = _inputs(
                asked,
                run=run,
                transfer_set=transfer_set,
                labels=LabelSource(manifest, sfm120k, dataset, root, split, partly_labelled),
                partial=partial,
            )
            if partly_labelled and processes.first:
                say(_of_labels(data, asked))
            if teacher_checkpoint is not None:
                data = replace(data, white_box=WhiteBox.open(teacher_checkpoint))
            outcome = train_student(
                chosen, data, folder, restart=restart, tensorboard=tensorboard, processes=processes
            )
    except KeyboardInterrupt:
        say("Interrupted: run the same command again to continue from the last checkpoint.")
        raise typer.Exit(INTERRUPTED) from None
    if not processes.first:
        return
    counts = None if data.labels is None else LabelCounts.of(data.labels)
    state = "Already trained" if outcome.already_finished else "Trained"
    emit(
        {
            "student": str(outcome.student),
            "objective": chosen.objective.name,
            "images": outcome.images,
            "unlabelled": data.unlabelled,
            "labels": counts and counts.labels,
            "labels_with_one_image": counts and counts.with_one_image,
            "epochs": outcome.epochs,
            "steps": outcome.steps,
            "recipe": chosen.digest(),
            "already_finished": outcome.already_finished,
        },
        f"{state}: {outcome.student} ({outcome.images:,} images, {outcome.epochs} epochs, "
        f"{outcome.steps:,} steps). Next: student-trainer evaluate --run {run} --manifest LABELLED, "
        "or --dataset NAME --root DIR",
        as_json=json,
    )


def _inputs(
    objective: "Objective",
    *,
    run: Path,
    transfer_set: Path | None,
    labels: "LabelSource",
    partial: bool,
) -> "tuple[RunFolder, TrainingData]":
    """The run folder, and the data that the objective learns from."""
    from student_trainer.distil.data import from_transfer_set
    from student_trainer.distil.preflight import labels_missing

    if objective.needs_labels and labels.option is None:
        raise labels_missing(objective)
    images_alone = objective.facts.needs_white_box and not objective.needs_teacher
    if labels.option is not None and not (objective.needs_labels or images_alone):
        raise InvalidInput(
            f"The objective {objective.name!r} learns without labels: leave out {labels.option}, or choose "
            "an objective that needs them."
        )
    if labels.partly and (labels.option is None or not objective.needs_teacher):
        raise InvalidInput(
            "--partly-labelled is for an objective that learns from labels and from bought descriptors, such "
            "as lmt-absolute, with the labels of --manifest FILE or --dataset NAME."
        )
    if not objective.needs_teacher and labels.option is not None:
        if transfer_set is not None:
            raise InvalidInput(f"The objective {objective.name!r} has no use for --transfer-set.")
        return RunFolder.create(run), labels.read()
    folder = RunFolder.existing(run) if transfer_set is None else RunFolder.create(run)
    held = folder.transfer_set if transfer_set is None else transfer_set_file(transfer_set)
    return folder, labels.add_to(from_transfer_set(held, partial=partial))


def _of_labels(data: "TrainingData", objective: "Objective") -> str:
    """How many of the bought images are labelled, and what the others are for."""
    labelled = f"{len(data) - data.unlabelled:,} of {len(data):,} bought images have a label"
    if not data.unlabelled:
        return f"{labelled}: --partly-labelled changes nothing."
    if objective.facts.learns_unlabelled:
        return f"{labelled}; on the other {data.unlabelled:,} the student learns from the teacher alone."
    return f"{labelled}; the objective {objective.name!r} learns nothing from the other {data.unlabelled:,}."
