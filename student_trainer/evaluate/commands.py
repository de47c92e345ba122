"""The verb ``evaluate``: teacher, student before and students after, side by side.

In: a run folder, a labelled manifest or a benchmark, and perhaps the teacher's checkpoint. Out: a table on
standard output, and ``evaluation.json`` in the run folder.
"""

from pathlib import Path
from typing import Annotated

import typer

from student_trainer.errors import StorageFailed
from student_trainer.output import emit

LABELLED, SETS, BENCHMARK = "Labelled images", "Public data sets", "Landmark benchmarks"


def evaluate(
    *,
    run: Annotated[Path, typer.Option(help="Run folder with the trained student.")],
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="Labelled CSV (path, label[, split][, query]), or a folder with one sub-folder a label.",
            rich_help_panel=LABELLED,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Use only this split of the manifest; of a set of labelled images: test, unless you say so.",
            rich_help_panel=LABELLED,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="roxford5k, rparis6k, oxford5k, paris6k, or the folder of another in their layout; or a set "
            "of labelled images: cub200, cars196, online-products, cifar10, nus-wide.",
            rich_help_panel=SETS,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder of data sets; `student-trainer datasets` says what belongs there.",
            rich_help_panel=SETS,
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="revisited or old; default: the data set's own.", rich_help_panel=BENCHMARK),
    ] = None,
    whiten_on: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Square-rooted PCA whitening learned on that data set's database; on retrieval-SfM-120k, "
            "whitening learned from its matching pairs.",
            rich_help_panel=BENCHMARK,
        ),
    ] = None,
    whiten_power: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Power of the eigenvalues that PCA whitening divides by: 0.5 by default; 0.25 is half way.",
            rich_help_panel=BENCHMARK,
        ),
    ] = None,
    whitening: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[#NAME]",
            help="A whitening that was learned before, or a public checkpoint that brings one.",
            rich_help_panel=BENCHMARK,
        ),
    ] = None,
    whiten_dims: Annotated[
        int | None,
        typer.Option(min=1, help="Dimensions that the whitening keeps.", rich_help_panel=BENCHMARK),
    ] = None,
    asymmetric: Annotated[
        bool,
        typer.Option(
            "--asymmetric",
            help="Also ask the teacher's database with the student's queries: with its own descriptors or "
            "its projection, where it is fit for that, and by a map learned afterwards from what was bought.",
        ),
    ] = False,
    alpha_qe: Annotated[
        str | None,
        typer.Option(
            metavar="N:ALPHA", help="Expand queries by their best N images.", rich_help_panel=BENCHMARK
        ),
    ] = None,
    dba: Annotated[
        str | None,
        typer.Option(
            metavar="N:ALPHA",
            help="Augment every database image by its nearest N.",
            rich_help_panel=BENCHMARK,
        ),
    ] = None,
    distractors: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder (or list) of images that no query should find, such as revisitop1m.",
            rich_help_panel=BENCHMARK,
        ),
    ] = None,
    half: Annotated[
        bool,
        typer.Option(
            "--half", help="Keep the distractors' descriptors in float16.", rich_help_panel=BENCHMARK
        ),
    ] = False,
    transfer_set: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN|FILE",
            help="What the student learned from, where train was given --transfer-set: for --asymmetric and "
            "for whether it is fit.",
        ),
    ] = None,
    teacher: Annotated[Path | None, typer.Option(help="The teacher's checkpoint, where you have it.")] = None,
    teacher_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The teacher's service, where it is an API alone: its descriptors of the benchmark are "
            "bought, and it is said beforehand what that costs.",
            rich_help_panel=BENCHMARK,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="TEACHER_API_KEY",
            help="API key for --teacher-url; better set in the environment, and not the training's.",
            rich_help_panel=BENCHMARK,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Spend without asking.", rich_help_panel=BENCHMARK)
    ] = False,
    also: Annotated[
        list[str] | None,
        typer.Option(help="NAME=RUN_DIR: another run's student beside this one; repeatable."),
    ] = None,
    scales: Annotated[str, typer.Option(help="Image scales, such as 1,0.7071,0.5.")] = "1",
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Longest side in px for the students, of whole images; default: each run's recipe.", min=16
        ),
    ] = None,
    teacher_image_size: Annotated[
        int | None, typer.Option(help="Longest side in px for the teacher; default: the student's.", min=16)
    ] = None,
    degrade: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="Show the students worse images than the teacher: downsample:4 or crop:0.6; none shows them "
            "as they are. Default: each run's recipe.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write it there, not to the run's evaluation.json, which `report` shows.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the evaluation as one JSON object.")] = False,
) -> None:
    """Measure retrieval, teacher and students side by side: on labelled images, or on a landmark benchmark.

    Of a public set of labelled images each image of the split ranks the others, or its queries rank the rest.

    Descriptors of a benchmark are kept in the run folder's cache: what is interrupted continues, and a second
    evaluation is quick.
    """
    from student_trainer.evaluate.benchmark.command import Payment, Wishes
    from student_trainer.evaluate.request import Request, carry_out
    from student_trainer.evaluate.table import as_text

    wishes = Wishes(
        dataset=dataset,
        root=root,
        protocol=protocol,
        whiten_on=whiten_on,
        whiten_power=whiten_power,
        whitening=whitening,
        whiten_dims=whiten_dims,
        asymmetric=asymmetric,
        alpha_qe=alpha_qe,
        dba=dba,
        distractors=distractors,
        half=half,
        teacher_url=teacher_url,
    )
    request = Request(
        run=run,
        manifest=manifest,
        split=split,
        wishes=wishes,
        payment=Payment(key, yes),
        transfer_set=transfer_set,
        teacher=teacher,
        also=also or (),
        scales=scales,
        image_size=image_size,
        teacher_image_size=teacher_image_size,
        degrade=degrade,
        device=device,
        out=out,
    )
    evaluation, file = carry_out(request)
    result, table = evaluation.model_dump(mode="json"), as_text(evaluation)
    try:
        evaluation.write(file)
    except StorageFailed:
        emit(result, table, as_json=json)  # what took hours to measure is not lost with the file
        raise
    following = "" if out else f" Next: student-trainer report --run {run}"
    emit(result, f"{table}\n\nWritten: {file}.{following}", as_json=json)
