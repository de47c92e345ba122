"""The verb ``reproduce``: the paper's tables and ours, cell by cell, and one page of what held.

In: names of tables, bought descriptors, something to measure on, a recipe. Out: ``results.json``,
``reproduce.md`` and ``reproduce.html`` in the folder. Offline: no query is spent.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from student_trainer.errors import INTERRUPTED, InvalidInput, TrainingFailed
from student_trainer.evaluate.scales import parse_scales
from student_trainer.output import emit, say


def reproduce(
    *,
    tables: Annotated[
        list[str],
        typer.Argument(
            metavar="TABLE...",
            help="table1 to table7, figure1, mixing, selection, methods; all: the paper's; or a TOML file.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the cells and of the page.")],
    transfer_set: Annotated[
        Path | None, typer.Option(metavar="RUN|FILE", help="What was bought: a run folder, or its file.")
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="Labelled CSV or folder to measure on.")] = None,
    split: Annotated[str | None, typer.Option(help="Measure on this split of the manifest.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Measure on roxford5k, rparis6k, oxford5k, paris6k instead."),
    ] = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the data sets.")] = None,
    train_split: Annotated[
        str | None, typer.Option(help="Supervised rows learn from this split of the manifest.")
    ] = None,
    sfm120k: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Supervised rows learn from SfM-120k in this folder.")
    ] = None,
    teacher: Annotated[Path | None, typer.Option(help="The teacher's checkpoint, for its rows.")] = None,
    recipe: Annotated[str, typer.Option(help="Recipe that every row starts from.")] = "paper-resnet34",
    recipe_for: Annotated[
        list[str] | None,
        typer.Option(metavar="ROW=RECIPE", help="Another recipe's method for one row; repeatable."),
    ] = None,
    student: Annotated[
        list[str] | None,
        typer.Option(metavar="ARCH[=WEIGHTS]", help="Student in place of the recipe's; repeatable."),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Short for --set student.weights=...")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change the recipe of all rows where it fits; repeatable.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=31, help="Trainings of each row.")] = 3,
    sizes: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Images in place of the paper's numbers, ascending."),
    ] = None,
    equal_steps: Annotated[
        bool, typer.Option("--equal-steps", help="As many steps on few images as on all, instead of epochs.")
    ] = False,
    image_size: Annotated[
        int | None, typer.Option(help="Longest side in px to measure at; default: the recipe's.", min=16)
    ] = None,
    teacher_image_size: Annotated[
        int | None, typer.Option(help="The same for the teacher; default: the students'.", min=16)
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(help="Image scales to measure at; default: 1, on data sets 1,0.7071,0.5."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ROW", help="Only rows of this id; * stands for anything.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Cells at a time, each a process.")] = 1,
    keep_students: Annotated[
        bool, typer.Option("--keep-students", help="Keep the weights, to measure otherwise later.")
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Show the cells, and the time that is left; run none.")
    ] = False,
    page_only: Annotated[
        bool, typer.Option("--page-only", help="Write the page of what is done; run none.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the paper's tables on your images and your teacher. Spends nothing.

    May be stopped at any time: the same command continues, and a cell that is done is not run again.
    """
    from student_trainer.reproduce.arguments import Arguments, MeasureOn
    from student_trainer.reproduce.listing import listing
    from student_trainer.reproduce.page import HTML, MARKDOWN
    from student_trainer.reproduce.run import planned

    if list_ and page_only:
        raise InvalidInput("--list shows the cells and --page-only writes the page: give one of them.")
    given = Arguments(
        recipe=recipe,
        changes=tuple([*([] if weights is None else [f"student.weights={weights}"]), *(changes or ())]),
        students=tuple(student or ()),
        recipe_for=tuple(recipe_for or ()),
        transfer_set=transfer_set,
        measure_on=MeasureOn(
            manifest=manifest,
            split=split,
            datasets=tuple(dataset.split(",")) if dataset else (),
            root=root,
            image_size=image_size,
            teacher_image_size=teacher_image_size,
            scales=parse_scales(scales) if scales else None,
        ),
        train_split=train_split,
        sfm120k=sfm120k,
        teacher=teacher,
        seeds=seeds,
        sizes=sizes,
        equal_steps=equal_steps,
        keep_students=keep_students,
    )
    reproduction = planned(tables, only or (), given, out)
    if list_:
        found = listing(reproduction.tasks, reproduction.cells, jobs, reproduction.names)
        emit(found.document(), found.text(), as_json=json)
        return
    failures, interrupted = [], False
    try:
        failures = [] if page_only else reproduction.run(jobs, say)
    except KeyboardInterrupt:
        say("Interrupted: the same command continues; what is finished is kept.")
        interrupted = True
    results, text = reproduction.write(failures, sys.argv[1:])
    emit(results.model_dump(mode="json"), f"{text}\nWritten: {out / HTML}, {out / MARKDOWN}", as_json=json)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if failures:
        names = reproduction.names
        named = "\n".join(f"  {names[one.cell]} ({one.cell}): {one.reason}" for one in failures)
        raise TrainingFailed(
            f"{len(failures)} of {len(reproduction.tasks)} cells failed; the others are done. The same "
            f"command tries these again:\n{named}"
        )
