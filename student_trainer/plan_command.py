"""The verb ``plan``: from photographs to a choice and its cost. Spends nothing.

In: command-line options; the environment's ``TEACHER_URL`` and ``TEACHER_API_KEY`` where the key's account is
to be shown. Out: the transfer set in the run folder, and what was found and chosen on standard output.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from student_trainer.acquire.commands import DryRun, Json, Key, Run, Url
from student_trainer.output import emit
from student_trainer.progress import progress
from student_trainer.run_folder import RunFolder

if TYPE_CHECKING:
    from shared.images import ImageLimits
    from student_trainer.acquire.plan import Choice, Inventory
    from student_trainer.acquire.records import PlanFacts
    from student_trainer.acquire.sources import Source
    from student_trainer.distil.eye import Eye


def plan(
    *,
    run: Run,
    queries: Annotated[int, typer.Option("--queries", metavar="N", help="|D|: how many images to buy.")],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="A folder of images.")
    ] = None,
    manifest: Annotated[Path | None, typer.Option("--manifest", metavar="FILE", help="A CSV list.")] = None,
    image_list: Annotated[
        Path | None, typer.Option("--image-list", metavar="FILE", help="A text file, one path a line.")
    ] = None,
    sfm120k: Annotated[
        Path | None,
        typer.Option(
            "--sfm120k", metavar="ROOT", help="The public training set; opens only what it chooses."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A public set: cub200, cars196, online-products, cifar10 or nus-wide."
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
        typer.Option(help="Use only this split of the manifest or of a public set (there: train)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the choice.")] = 0,
    selection: Annotated[
        str, typer.Option(metavar="NAME", help="random (the baseline), k-center, cluster or density.")
    ] = "random",
    recipe: Annotated[
        str, typer.Option(help="Its student looks at the images, for a selection that does.")
    ] = "paper-resnet34",
    weights: Annotated[
        str | None, typer.Option(help="That student's weights: imagenet, random or a file.")
    ] = None,
    drop_near_duplicates: Annotated[
        bool,
        typer.Option("--drop-near-duplicates", help="Choose no image that shows nearly the same as another."),
    ] = False,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective", metavar="NAME", help="Say what this method's public pipeline would have asked for."
        ),
    ] = None,
    url: Url = None,
    key: Key = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Choose the images to buy and say what they will cost. Spends nothing.

    Run it again with more or fewer --queries: the plan grows or shrinks and keeps what was bought, however it
    was chosen.
    """
    from shared.images import ImageLimits
    from student_trainer.acquire import plan as planning
    from student_trainer.acquire.public_pipelines import demand
    from student_trainer.acquire.records import PlanFacts
    from student_trainer.acquire.selection.choice import METHODS, check_wish
    from student_trainer.acquire.session import access_to, meet
    from student_trainer.acquire.sources import open_source
    from student_trainer.acquire.summaries import of_plan

    check_wish(selection, queries)
    asked = None if objective is None else demand(objective, queries)
    eye = _open_eye(recipe, weights) if METHODS[selection].looks else None
    source = open_source(
        images=images,
        manifest=manifest,
        image_list=image_list,
        sfm120k=sfm120k,
        dataset=dataset,
        root=root,
        split=split,
    )
    model, usage = meet(access_to(url, key)) if url and key else (None, None)
    limits = planning.limits_of(model.limits) if model else ImageLimits()
    facts = PlanFacts(
        selection,
        seed,
        source.words,
        dropped_near_duplicates=drop_near_duplicates,
        drawn_by=source.drawn_by,
    )
    inventory = _look(run, source, queries, facts, limits)
    choice = _choose(run, inventory, queries, facts, eye, dry_run=dry_run)
    result, text = of_plan(inventory, choice, usage, asked)
    following = asked.following(run) if asked else f"Next: student-trainer fetch --run {run}"
    if dry_run:
        following = "Nothing was written (--dry-run)."
    emit({**result, "dry_run": dry_run}, f"{text}\n{following}", as_json=json)


def _open_eye(recipe: str, weights: str | None) -> "Eye":
    from student_trainer.distil.eye import open_eye
    from student_trainer.recipe import load

    return open_eye(load(recipe, [] if weights is None else [f"student.weights={weights}"]))


def _look(
    run: Path, source: "Source", queries: int, facts: "PlanFacts", limits: "ImageLimits"
) -> "Inventory":
    """All images, or as many as a random choice by name needs."""
    from student_trainer.acquire import plan as planning
    from student_trainer.acquire.sampling import sample
    from student_trainer.acquire.selection.choice import RANDOM

    lazily = source.drawn_by == "file name" and facts.strategy == RANDOM
    with progress("Looking at images", 0 if lazily else len(source.entries), "files") as bar:
        if lazily:
            return sample(
                run,
                source.entries,
                queries,
                facts,
                limits=limits,
                on_listed=bar.expect,
                on_looked=bar.advance,
            )
        return planning.take_stock(source.entries, limits, bar.advance)


def _choose(
    run: Path, inventory: "Inventory", queries: int, facts: "PlanFacts", eye: "Eye | None", *, dry_run: bool
) -> "Choice":
    from student_trainer.acquire.plan import decide

    if eye is None:
        return decide(run, inventory, queries, facts, dry_run=dry_run)
    with progress("Describing candidates", len(inventory.candidates), "images") as bar:
        # A dry run leaves nothing behind, so it keeps no descriptors either.
        cache = None if dry_run else RunFolder(run).cache
        describer = eye.on(inventory.candidates, cache, bar.advance)
        facts = replace(facts, network=eye.in_words(describer))
        return decide(run, inventory, queries, facts, describe=describer, dry_run=dry_run)
