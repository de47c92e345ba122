"""The verb ``curve``: what the bought descriptors were worth, and whether more look worth buying.

In: a run folder with bought descriptors, a recipe, sizes and seeds. Out: ``curve.json``, ``curve.csv`` and
``curve.png`` in the run folder, and one sentence. Offline: no query is spent.
"""

from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from student_trainer.errors import INTERRUPTED, InvalidInput
from student_trainer.lock import exclusive
from student_trainer.output import emit, say
from student_trainer.run_folder import RunFolder
from student_trainer.trials.files import write_whole

if TYPE_CHECKING:
    from student_trainer.curve.document import Curve
    from student_trainer.distil.data import TrainingData
    from student_trainer.recipe import Recipe
    from student_trainer.trials.yardsticks import Yardstick

DEFAULT_RECIPE = "paper-resnet34"


def curve(
    *,
    run: Annotated[Path, typer.Option(metavar="DIR", help="Run folder with bought descriptors.")],
    sizes: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Numbers of images; default: an eighth, a quarter, half, all."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=31, help="Trainings at each size.")] = 3,
    recipe: Annotated[
        str | None, typer.Option(help="Recipe; default: the run's recipe.toml, or else paper-resnet34.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Short for --set student.weights=...")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change the recipe; repeatable."),
    ] = None,
    equal_steps: Annotated[
        bool, typer.Option("--equal-steps", help="As many steps for every size, instead of as many epochs.")
    ] = False,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Labelled CSV or folder to measure mAP on; default: bought images, held back."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Use only this split of the manifest.")] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="The teacher's checkpoint, for its line; with --manifest.")
    ] = None,
    teacher_image_size: Annotated[
        int | None, typer.Option(help="Longest side in px for the teacher; default: the student's.", min=16)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the curve as one JSON object.")] = False,
) -> None:
    """Train on parts of what was bought and draw quality against queries. Spends nothing.

    May be stopped at any time: the same command continues, and a training that is finished is not run again.
    """
    from student_trainer.curve.curve import Plan, trace
    from student_trainer.curve.figure import quality_picture
    from student_trainer.curve.grid import sizes_of
    from student_trainer.distil.data import from_transfer_set
    from student_trainer.recipe import load
    from student_trainer.trials.subsets import bought_in_order

    folder = RunFolder.existing(run)
    own = str(folder.recipe) if folder.recipe.is_file() else DEFAULT_RECIPE
    overrides = [] if weights is None else [f"student.weights={weights}"]
    chosen = load(recipe or own, [*overrides, *(changes or ())])
    _check(chosen, manifest, split, teacher)
    if chosen.validation.share:
        say(
            "validation.share is off in a curve: each training learns from all images of its size, and the "
            "curve measures by itself."
        )
    bought = from_transfer_set(folder.transfer_set, partial=True)
    learnable, measure = _measure(chosen, bought, manifest, split)
    plan = Plan(
        chosen,
        learnable,
        measure,
        sizes=sizes_of(sizes, len(learnable)),
        seeds=range(chosen.training.seed, chosen.training.seed + seeds),
        in_order_of_choice=bought_in_order(folder.transfer_set),
        equal_steps=equal_steps,
    )
    try:
        with exclusive(RunFolder.create(folder.curve)):
            line = _teacher_line(measure, teacher, teacher_image_size)
            found = trace(plan, folder.curve, bought, line, say)
            found.write(folder.curve_document)
            write_whole(folder.curve / "curve.png", quality_picture(found))
    except KeyboardInterrupt:
        say("Interrupted: the same command continues; what is finished is kept.")
        raise typer.Exit(INTERRUPTED) from None
    emit(found.model_dump(mode="json"), _text(found, folder.curve), as_json=json)


def _check(recipe: "Recipe", manifest: Path | None, split: str | None, teacher: Path | None) -> None:
    from student_trainer.distil.preflight import unfitted_objective
    from student_trainer.distil.white_box.checks import check_white_box
    from student_trainer.evaluate.contestant import require_checkpoint

    check_white_box(recipe, unfitted_objective(recipe), at_hand=False)
    if unfitted_objective(recipe).needs_labels:
        raise InvalidInput(
            f"The objective {recipe.objective.name!r} learns from labels, and queries buy none: choose one "
            "that learns from the teacher, such as --set objective.name=rank."
        )
    if manifest is None and (split is not None or teacher is not None):
        raise InvalidInput(
            "--split and --teacher are for labelled images: give --manifest FILE too. On held-back images "
            "the teacher has 1 by definition."
        )
    if teacher is not None:
        require_checkpoint(teacher)


def _measure(
    recipe: "Recipe", bought: "TrainingData", manifest: Path | None, split: str | None
) -> "tuple[TrainingData, Yardstick]":
    """What can be learned from, and what measures it."""
    from student_trainer.curve.held_back import HeldBack, hold_back
    from student_trainer.datasets.manifest import labelled_entries
    from student_trainer.evaluate.gallery import gallery_of
    from student_trainer.trials.file_digests import FileDigests
    from student_trainer.trials.yardsticks import Labelled, threshold

    size_px, device, view = recipe.images.longest_side_px, recipe.training.device, recipe.images.view
    if manifest is not None:
        gallery = gallery_of(labelled_entries(manifest, split))
        measured = set(FileDigests().of(gallery.paths))
        both = sum(image.digest in measured for image in bought.images)
        return bought, Labelled(gallery, manifest.name, size_px, device, learned_from=both, view=view)
    learnable, held_back = hold_back([image.digest for image in bought.images])
    data = bought.take(held_back)
    return bought.take(learnable), HeldBack(data, threshold(recipe, data), size_px, device, view)


def _teacher_line(measure: "Yardstick", teacher: Path | None, size_px: int | None) -> float | None:
    """The teacher's own quality, at its own image size, of images that are not made worse."""
    from student_trainer.trials.yardsticks import Labelled

    if teacher is None or not isinstance(measure, Labelled):
        return None
    clean = replace(measure, view=measure.view.clean())
    if size_px is not None:
        clean = replace(clean, longest_side_px=size_px, view=clean.view.whole())
    return clean.measure(teacher)[clean.drawn]


def _text(curve: "Curve", folder: Path) -> str:
    """The table, the sentence, and where the picture is."""
    from student_trainer.trials.seeds import interval

    name = curve.yardstick.name
    lines = [f"{'queries':>9}  {name:<12} {'95 % over seeds':<18} seeds"]
    for size in curve.sizes:
        values = list(curve.qualities(size).values())
        around = interval(values)
        spread = f"{around[0]:.3f} to {around[1]:.3f}" if around else "-"
        lines.append(f"{size:>9,}  {fmean(values):<12.3f} {spread:<18} {len(values)}")
    known = (("student before", curve.before), ("teacher", curve.teacher))
    others = [f"{who} {value:.3f}" for who, value in known if value is not None]
    return "\n".join(
        [
            *lines,
            *([", ".join(others) + "."] if others else []),
            f"{curve.yardstick.sentence} {curve.subsets} {curve.training}",
            "",
            curve.verdict.sentence,
            f"Drawn: {folder / 'curve.png'}; the numbers: {folder / 'curve.json'}, {folder / 'curve.csv'}",
        ]
    )
