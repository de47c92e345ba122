"""The verb ``report``: the page and the model card of a run.

In: a run folder, complete or not. Out: ``report.html`` and ``MODEL_CARD.md`` in it.
"""

from pathlib import Path
from typing import Annotated

import typer

from shared.whole_files import write_whole
from student_trainer.errors import StorageFailed, VerificationFailed
from student_trainer.output import emit
from student_trainer.run_folder import RunFolder


def report(
    run: Annotated[Path, typer.Option(help="Run folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write the report (one HTML page that loads nothing) and the model card."""
    from student_trainer.publish.card import build_card
    from student_trainer.publish.facts import gather
    from student_trainer.publish.report import build_page
    from student_trainer.publish.wording import headline

    folder = RunFolder.existing(run)
    facts = gather(folder)
    _write(folder.report, build_page(facts))
    _write(folder.model_card, build_card(facts))
    fault = facts.budget.fault if facts.budget else ""
    missing = [{"what": part.what, "command": part.command} for part in facts.missing]
    result = {
        "report": str(folder.report),
        "model_card": str(folder.model_card),
        "headline": headline(facts),
        "missing": missing,
        "certificate": None if facts.budget is None else not fault,
    }
    lines = [headline(facts), *(f"Not there yet: {part.what}. {part.command}" for part in facts.missing)]
    emit(result, "\n".join([*lines, f"Written: {folder.report} and {folder.model_card}"]), as_json=json)
    if fault:
        raise VerificationFailed(
            f"{folder.certificate} does not hold: {fault} The page and the card say so and state no number."
        )


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written: {error}. The older file, if any, is unchanged."
        ) from None
