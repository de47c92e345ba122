"""The verb ``reproduce``: the paper's tables and ours, cell by cell, and one page of what held.

In: names of tables, bought descriptors, something to measure on, a recipe. Out: ``results.json``,
``reproduce.md`` and ``reproduce.html`` in the folder. Offline: no query is spent.
"""

import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from student_trainer.acquire.lock import exclusive
from student_trainer.errors import InvalidInput, TrainingFailed
from student_trainer.evaluate.commands import parse_scales
from student_trainer.output import emit
from student_trainer.run_folder import RunFolder

if TYPE_CHECKING:
    from student_trainer.reproduce.definition import Table

INTERRUPTED = 130


def reproduce(
    *,
    tables: Annotated[
        list[str],
        typer.Argument(
            metavar="TABLE...",
            help="table1 to table7, figure1, mixing; all for the paper's; or a TOML file of your own.",
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
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change the recipe of all rows; repeatable."),
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
    from student_trainer.distil.preflight import say
    from student_trainer.reproduce.inputs import Arguments, open_setting
    from student_trainer.reproduce.listing import listing
    from student_trainer.reproduce.page import HTML, MARKDOWN, as_text, write_page
    from student_trainer.reproduce.planning import lines_of, tasks_of
    from student_trainer.reproduce.results import read_results
    from student_trainer.reproduce.settling import Run, table_result
    from student_trainer.reproduce.wording import command, sentences
    from student_trainer.reproduce.workers import run_all
    from student_trainer.reproduce.yardsticks import MeasureOn

    chosen = _tables(tables)
    given = Arguments(
        recipe=recipe,
        changes=tuple([*([] if weights is None else [f"student.weights={weights}"]), *(changes or ())]),
        students=tuple(student or ()),
        row_recipes=tuple(recipe_for or ()),
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
    setting = open_setting(given)
    rows = _only(chosen, only or ())
    lines = {table.name: lines_of(table, setting, rows) for table in chosen}
    tasks = tasks_of([line for of_table in lines.values() for line in of_table])
    folder = RunFolder.create(out)
    cells = out / "cells"
    if list_:
        found = listing(tasks, cells, jobs)
        emit(found.document(), found.text(), as_json=json)
        return
    failures = []
    interrupted = False
    if not page_only:
        with exclusive(folder):
            try:
                failures = run_all(tasks, cells, jobs, say)
            except KeyboardInterrupt:
                say("Interrupted: the same command continues; what is finished is kept.")
                interrupted = True
    reasons = {failure.cell: failure.reason for failure in failures}
    results = read_results(out / "results.json")
    line = command(sys.argv[1:])
    measured = {
        table.name: table_result(
            table, lines[table.name], cells, Run(line, tuple(sentences(given, setting, table)), reasons)
        )
        for table in chosen
    }
    results = results.model_copy(update={"tables": {**results.tables, **measured}})
    results.write(out / "results.json")
    write_page(results, out)
    text = as_text(results, list(measured))
    emit(results.model_dump(mode="json"), f"{text}\nWritten: {out / HTML}, {out / MARKDOWN}", as_json=json)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if failures:
        named = "\n".join(f"  {failure.cell}: {failure.reason}" for failure in failures)
        raise TrainingFailed(
            f"{len(failures)} of {len(tasks)} cells failed; the others are done. The same command tries "
            f"these again:\n{named}"
        )


def _tables(names: "list[str]") -> "list[Table]":
    from student_trainer.reproduce.definition import read_table

    paper = ["table1", "table2", "table3", "table4", "table5", "table6", "table7", "figure1"]
    wished = [name for word in names for name in (paper if word == "all" else [word])]
    return [read_table(name) for name in dict.fromkeys(wished)]


def _only(tables: "list[Table]", patterns: "list[str] | tuple[str, ...]") -> list[str]:
    """Ids of the rows that were asked for; empty for all."""
    ids = [row.id for table in tables for row in table.rows]
    found = []
    for pattern in patterns:
        matching = [name for name in ids if fnmatch(name, pattern)]
        if not matching:
            raise InvalidInput(
                f"--only {pattern}: there is no such row; there are {', '.join(dict.fromkeys(ids))}."
            )
        found += matching
    return found
