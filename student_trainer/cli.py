"""``student-trainer``: the verbs, in the order of the work, and the exit codes.

Each folder's ``commands.py`` holds its verbs, and ``plan_command.py`` the one for which buying and training
meet; this module wires them and turns errors into messages.
"""

import sys

import typer

from shared.allocator import keep_pages
from student_trainer.acquire import commands as acquire
from student_trainer.curve import commands as curve
from student_trainer.datasets.commands import datasets
from student_trainer.demo import commands as demo
from student_trainer.distil import commands as distil
from student_trainer.errors import TrainerError
from student_trainer.evaluate import commands as evaluate
from student_trainer.plan_command import plan
from student_trainer.publish import commands as publish
from student_trainer.publish.codes_command import codes
from student_trainer.publish.export_command import export
from student_trainer.reproduce import commands as reproduce

app = typer.Typer(
    name="student-trainer",
    help="Spend a fixed query budget once, distil offline, evaluate, audit and report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(datasets)
app.command("plan")(plan)
app.command("fetch")(acquire.fetch)
app.command("audit")(acquire.audit)
app.command("verify")(acquire.verify)
app.command("train")(distil.train)
app.command("evaluate")(evaluate.evaluate)
app.command("curve")(curve.curve)
app.command("reproduce")(reproduce.reproduce)
app.command("report")(publish.report)
app.command("export")(export)
app.command("codes")(codes)
app.command("demo")(demo.demo)


def main() -> None:
    """Entry point of the command. Ctrl-C ends it with 130; verbs that can continue say so themselves."""
    keep_pages()
    try:
        app(standalone_mode=True)
    except TrainerError as error:
        print(f"student-trainer: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
