"""The verb ``demo``: everything, from photographs to a certificate, in one command.

In: a run folder, and perhaps one's own labelled photographs. Out: the measured scores on standard output;
the report, the certificate and everything else in the run folder.
"""

import sys
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from student_trainer.errors import INTERRUPTED
from student_trainer.output import emit

if TYPE_CHECKING:
    from student_trainer.demo.settings import DemoSettings
    from student_trainer.evaluate.document import Evaluation


def demo(
    context: typer.Context,
    *,
    run: Annotated[Path, typer.Option("--run", metavar="DIR", help="The run folder.")] = Path("runs/demo"),
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Own photographs, one sub-folder a label.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", metavar="FILE", help="Own photographs, as a labelled CSV.")
    ] = None,
    queries: Annotated[
        int | None, typer.Option("--queries", metavar="N", min=2, help="|D|, the budget. (400)")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws everything that is drawn.")] = 0,
    teacher_recipe: Annotated[
        str | None, typer.Option(help="How the teacher is trained. (demo-teacher; own: photo-teacher)")
    ] = None,
    student_recipe: Annotated[
        str | None, typer.Option(help="How the student is trained. (demo-student; own: quick-cpu)")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Initial weights of both networks: imagenet, random or a file.")
    ] = None,
    teacher_set: Annotated[
        list[str] | None,
        typer.Option("--teacher-set", metavar="SECTION.KEY=VALUE", help="Change the teacher's recipe."),
    ] = None,
    student_set: Annotated[
        list[str] | None,
        typer.Option("--student-set", metavar="SECTION.KEY=VALUE", help="Change the student's recipe."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of continuing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Serve a teacher, buy a fixed budget of descriptors, distil, measure, audit and report.

    Needs no download: without --images or --manifest it renders its own landmarks. Run it again and it
    continues where it was stopped.
    """
    from student_trainer.demo.demo import run_demo
    from student_trainer.demo.photographs import check_photographs
    from student_trainer.demo.settings import DemoSettings, begin_or_continue, check_recipes

    own = images is not None or manifest is not None
    initial = (f"student.weights={weights}",) if weights is not None else ()
    settings = DemoSettings(
        run=run,
        images=images,
        manifest=manifest,
        queries=queries or 400,
        seed=seed,
        teacher_recipe=teacher_recipe or ("photo-teacher" if own else "demo-teacher"),
        student_recipe=student_recipe or ("quick-cpu" if own else "demo-student"),
        teacher_changes=(*initial, *(teacher_set or ())),
        student_changes=(*initial, *(student_set or ())),
    )
    check_recipes(settings)
    check_photographs(settings)
    try:
        with redirect_stdout(sys.stderr) if json else nullcontext():
            if begin_or_continue(settings, fresh=fresh):
                print(f"Continuing the demo in {run}; start over with --fresh.")
            evaluation = run_demo(settings, partial(context.find_root().command.main, standalone_mode=False))
    except KeyboardInterrupt:
        print("Interrupted: the same command continues; --fresh starts over.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    result = {"run": str(run), "evaluation": evaluation.model_dump(mode="json")}
    emit(result, summary(settings, evaluation), as_json=json)


def summary(settings: "DemoSettings", evaluation: "Evaluation") -> str:
    """The measured scores and where to look next."""
    from student_trainer.run_folder import RunFolder

    run = RunFolder(settings.run)
    names = {"student": "student, rank-mixup", "rank": "student, rank"}
    lines = [
        f"  {names.get(name, name):<24}{its.map_step:>8.3f}{its.recall_at_1:>10.3f}{its.parameters:>14,}"
        for name, its in evaluation.models.items()
    ]
    return "\n".join(
        [
            "",
            f"  {'':<24}{'mAP':>8}{'recall@1':>10}{'parameters':>14}",
            *lines,
            f"  mAP by step AP. {evaluation.protocol.sentence()}",
            "",
            f"  report       {run.report}",
            f"  certificate  {run.certificate}",
        ]
    )
